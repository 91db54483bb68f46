"""Known keywords and protocols that need an inspection this engine does not do (yet).

They are told apart from unknown words, so that a refusal says what is missing.
"""

from __future__ import annotations

import re

# Family → what names belong to it; the first that matches counts.
_FAMILIES: tuple[tuple[str, str], ...] = (
    ("HTTP", r"http[._].*|http2\..*|http1|urilen|uricontent|http_.*"),
    (
        "file",
        r"file[._].*|filename|fileext|filemagic|filemd5|filesha1|filesha256|filesize|filestore",
    ),
    ("DNS", r"dns[._].*|mdns[._].*"),
    ("TLS", r"tls[._].*|ssl_(?:version|state)|ja[34]s?[._].*|ja3|ja3s|ja4"),
    ("SSH", r"ssh[._].*"),
    ("SMB", r"smb[._].*"),
    ("DCERPC", r"dcerpc[._].*|dce_.*"),
    ("NFS", r"nfs[._].*|rpc"),
    ("SMTP", r"smtp[._].*|email[._].*|mime[._].*"),
    ("FTP", r"ftp[._].*|ftpbounce|ftpdata_command"),
    ("SIP", r"sip[._].*|sdp[._].*"),
    ("MQTT", r"mqtt[._].*"),
    ("QUIC", r"quic[._].*"),
    ("IKE", r"ike[._].*"),
    ("Kerberos", r"krb5[._].*|krb5"),
    ("SNMP", r"snmp[._].*"),
    ("LDAP", r"ldap[._].*"),
    ("RFB", r"rfb[._].*"),
    ("RDP", r"rdp[._].*"),
    ("PostgreSQL", r"pgsql[._].*"),
    ("WebSocket", r"websocket[._].*"),
    ("DHCP", r"dhcp[._].*"),
    ("Modbus", r"modbus|modbus[._].*"),
    ("DNP3", r"dnp3[._].*"),
    ("ENIP/CIP", r"enip[._].*|cip[._].*|cip_service|enip_command"),
    ("IGMP", r"igmp[._].*"),
    ("TFTP", r"tftp[._].*"),
    ("VXLAN header", r"vxlan_vni"),
    ("Ethernet header", r"ether\..*|ether_.*"),
    ("application layer", r"app-layer-event|app-layer-protocol|app-layer-state|frame|asn1"),
    ("template", r"template[._].*"),
    (
        "transformation",
        r"to_(?:md5|sha1|sha256|lowercase|uppercase)|strip_whitespace|compress_whitespace|"
        r"strip_pseudo_headers|url_decode|xor|dotprefix|pcrexform|header_lowercase|"
        r"casechange|gunzip|zlib_deflate|from_base64|luaxform|domain|tld|"
        r"subslice|base64_decode|base64_data",
    ),
    ("script", r"lua|luajit"),
    ("data set", r"dataset|datarep|iprep|geoip"),
    ("packet variable", r"flowvar|pktvar|nfq_set_mark|config|replace|entropy|absent"),
    ("IP set", r"ipset|fwsam|resp|react|logto|session|ssn|activates|activated_by|count"),
    ("TCP multipath", r"tcp\.mptcp.*"),
)
_PATTERNS = tuple((family, re.compile(pattern)) for family, pattern in _FAMILIES)


def needs(name: str) -> str | None:
    """What the known keyword `name` needs that is not there; None for an unknown word."""
    lowered = name.lower()
    for family, pattern in _PATTERNS:
        if pattern.fullmatch(lowered):
            return family
    return None


# Protocols a rule header may name in Suricata beyond those supported here.
_APPLICATION = """
    bittorrent-dht dcerpc dhcp dnp3 dns doh2 enip ftp ftp-data http http1 http2 ike ikev2 imap
    irc jabber krb5 ldap mdns modbus mqtt msn netbios nfs ntp openvpn pgsql pop3 quic rdp rfb
    rpc sip smb smtp snmp ssh ssl syslog telnet template tftp tls vxlan websocket
"""
APPLICATION_PROTOCOLS = frozenset(_APPLICATION.split())
LINK_PROTOCOLS = frozenset({"arp", "ether", "ethernet"})
