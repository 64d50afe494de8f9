#!/bin/bash
# Installs the Debian packages of the interop peers where they are missing, or those that are named. Never fails the
# build: without root or apt it says what is missing; the tests then skip those peers, or fail where CI=true.
# usage: install.sh [PACKAGE...]
set -u

PATH=$PATH:/usr/sbin # where Orthanc is
declare -A package_of=([dcmqrscp]=dcmtk [gdcmscu]=libgdcm-tools [Orthanc]=orthanc [tshark]=tshark [text2pcap]=tshark [strace]=strace
    [dciodvfy]=dicom3tools)
missing=("$@")
[ $# -eq 0 ] && for tool in "${!package_of[@]}"; do
    command -v "$tool" >/dev/null || missing+=("${package_of[$tool]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

sudo=()
if [ "$(id -u)" -ne 0 ]; then
    if sudo -n true 2>/dev/null; then sudo=(sudo -n); else
        echo "peers missing: ${missing[*]} (install them as root: apt-get install ${missing[*]})"
        exit 0
    fi
fi
if ! command -v apt-get >/dev/null; then
    echo "peers missing: ${missing[*]} (no apt-get here: install them by hand)"
    exit 0
fi

# Exit code 101 of policy-rc.d: the package manager starts no service.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee $policy >/dev/null && "${sudo[@]}" chmod 755 $policy
    trap '"${sudo[@]}" rm -f $policy' EXIT
fi

apt() { "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@"; }
for attempt in 1 2 3; do
    apt update && apt install --no-install-recommends "${missing[@]}" && exit 0
    echo "peers: attempt $attempt failed"
done
echo "peers missing: ${missing[*]} (installation failed)"
exit 0
