"""The DIMSE services (PS3.7) as steps without a socket, in both roles."""
