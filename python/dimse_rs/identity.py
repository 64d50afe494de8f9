"""The former place of `user_identity` and `passcodes`, kept for programs that import it."""

from .passcodes import (
    Passcodes as Passcodes,
    check_passcode as check_passcode,
    hash_passcode as hash_passcode,
    same_secret as same_secret,
)
from .user_identity import (
    Fields as Fields,
    Jwt as Jwt,
    Kerberos as Kerberos,
    Saml as Saml,
    UserIdentity as UserIdentity,
    Username as Username,
    UsernamePasscode as UsernamePasscode,
    fields_of as fields_of,
    identity_of as identity_of,
)
