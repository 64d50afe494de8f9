"""The names of pydicom that this package uses: its modules import them from here, never directly.

pydicom's modules import each other in a circle. When two threads begin at different ends of the
circle, each holds the import lock of a module that the other waits for. Python then lets one thread
go on with a module whose body has not run to its end, and a failure of that kind may stay for the
life of the process. With one module in between all threads begin at the same end, and wait for the
same lock.
"""

import pydicom as pydicom
from pydicom import Dataset as Dataset, Sequence as Sequence, config as config, dcmread as dcmread
from pydicom._dicom_dict import (
    DicomDictionary as DicomDictionary,
    RepeatersDictionary as RepeatersDictionary,
)
from pydicom._private_dict import private_dictionaries as private_dictionaries
from pydicom.charset import (
    STAND_ALONE_ENCODINGS as STAND_ALONE_ENCODINGS,
    convert_encodings as convert_encodings,
    decode_bytes as decode_bytes,
    default_encoding as default_encoding,
    encode_string as encode_string,
    python_encoding as python_encoding,
)
from pydicom.datadict import (
    dictionary_VR as dictionary_VR,
    keyword_for_tag as keyword_for_tag,
    tag_for_keyword as tag_for_keyword,
)
from pydicom.dataelem import (
    DataElement as DataElement,
    RawDataElement as RawDataElement,
    convert_raw_data_element as convert_raw_data_element,
    empty_value_for_VR as empty_value_for_VR,
)
from pydicom.dataset import FileMetaDataset as FileMetaDataset
from pydicom.errors import InvalidDicomError as InvalidDicomError
from pydicom.filebase import DicomBytesIO as DicomBytesIO
from pydicom.filereader import read_dataset as read_dataset, read_sequence as read_sequence
from pydicom.filewriter import (
    correct_ambiguous_vr_element as correct_ambiguous_vr_element,
    write_data_element as write_data_element,
    write_file_meta_info as write_file_meta_info,
)
from pydicom.hooks import raw_element_vr as raw_element_vr
from pydicom.multival import MultiValue as MultiValue
from pydicom.tag import BaseTag as BaseTag
from pydicom.uid import (
    UID as UID,
    ExplicitVRLittleEndian as ExplicitVRLittleEndian,
    ImplicitVRLittleEndian as ImplicitVRLittleEndian,
)
from pydicom.valuerep import (
    AMBIGUOUS_VR as AMBIGUOUS_VR,
    TEXT_VR_DELIMS as TEXT_VR_DELIMS,
    PersonName as PersonName,
)
