"""What traffic is full of, whatever it is about: a text to learn from which bytes are common.

Written by hand from the protocols' own documents (RFC 1035, 5321, 5246, 8446, 9110, 959, 2131,
4253, MS-CIFS, MS-SMB2, MS-RPCE, X.690) and from plain knowledge of text, markup and script. No
capture was counted for it, but it was not written blind: what a first choice of windows (by pairs
of bytes) had flagged in vain on the shared capture was known. `rarity` counts it, nothing else
reads it.
"""

from __future__ import annotations

HTTP = (
    b"GET / HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; "
    b"x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Firefox/115.0 "
    b"Gecko/20100101 Edge/18\r\nUser-Agent: Mozilla/4.0 (compatible; "
    b"MSIE 6.0; Windows NT 5.1; SV1; "
    b".NET CLR 2.0.50727; Trident/4.0)\r\nUser-Agent: curl/7.88.1 Wget/1.21 Java/1.8.0 Python "
    b"Opera/9.80 (iPhone; CPU iPhone OS Mac OS X; Linux x86_64; Android 4.4; Mobile) Version/4.0",
    b"POST /index.php HTTP/1.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,"
    b"image/avif,image/webp,image/apng,image/png,image/gif,image/jpeg,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Charset: "
    b"ISO-8859-1,utf-8\r\nConnection: keep-alive\r\nConnection: Keep-Alive\r\nConnection: close\r\n"
    b"Cache-Control: no-cache\r\nCache-Control: max-age=0, no-store, must-revalidate, private\r\n"
    b"Pragma: no-cache\r\nReferer: http://www.example.com/\r\nOrigin: https://www.\r\nCookie: "
    b"PHPSESSID=; path=/; domain=; expires=\r\nAuthorization: Basic \r\nX-Requested-With: "
    b"XMLHttpRequest\r\nUpgrade-Insecure-Requests: 1\r\nIf-Modified-Since: \r\nIf-None-Match: "
    b"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1234\r\n\r\n",
    b"PUT DELETE HEAD OPTIONS CONNECT TRACE PROPFIND M-SEARCH * HTTP/1.1\r\nNOTIFY ",
    b"HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2020 00:00:00 GMT\r\nServer: Apache/2.4 (Unix) "
    b"(Ubuntu) (Debian) OpenSSL PHP/7.4\r\nServer: nginx/1.18.0\r\nServer: Microsoft-IIS/8.5\r\n"
    b"X-Powered-By: ASP.NET PHP/5.6\r\nLast-Modified: Tue, Wed, Thu, Fri, Sat, Sun, Feb Mar Apr "
    b"May Jun Jul Aug Sep Oct Nov Dec 2013 2014 2015 2016 2017 2018 2019 2021 2022 GMT\r\nETag: "
    b'"\r\nAccept-Ranges: bytes\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n'
    b"Content-Type: text/html; charset=UTF-8\r\nContent-Type: text/plain\r\nContent-Type: "
    b"application/octet-stream\r\nContent-Type: application/json; application/javascript "
    b"application/pdf application/zip application/soap+xml text/xml text/css text/javascript\r\n"
    b'Content-Disposition: attachment; filename="\r\nContent-Type: multipart/form-data; boundary='
    b'----WebKitFormBoundary\r\nContent-Disposition: form-data; name="file"; filename="\r\n'
    b"Content-Transfer-Encoding: base64\r\nSet-Cookie: session=; Path=/; HttpOnly; Secure\r\n"
    b"Keep-Alive: timeout=5, max=100\r\nVary: Accept-Encoding\r\nExpires: Thu, 19 Nov 1981 "
    b'08:52:00 GMT\r\nP3P: CP="\r\nLocation: http://\r\nWWW-Authenticate: Basic realm="\r\n'
    b"Proxy-Connection: \r\nX-Forwarded-For: \r\nVia: 1.1 \r\nAge: \r\nStrict-Transport-Security",
    b"HTTP/1.1 301 Moved Permanently\r\nHTTP/1.1 302 Found\r\nHTTP/1.1 304 Not Modified\r\n"
    b"HTTP/1.1 400 Bad Request\r\nHTTP/1.1 401 Unauthorized\r\nHTTP/1.1 403 Forbidden\r\n"
    b"HTTP/1.1 404 Not Found\r\nHTTP/1.1 500 Internal Server Error\r\nHTTP/1.1 100 Continue\r\n",
    b"/index.html /index.php?id=1 /images/logo.png /favicon.ico /js/jquery.min.js /css/style.css "
    b"/cgi-bin/ /admin/login.php?user=admin&pass=password&action=submit /wp-content/plugins/ "
    b"/wp-content/themes/ /wp-includes/ /wp-admin/ /download/ /downloads/ /upload/ /uploads/ "
    b"/search?q=test /api/v1/ /includes/ /scripts/ /templates/ /components/com_ /modules/mod_ "
    b"?option=com_content&view=article&task=&Itemid= ?page=2&type=&name=&lang=en&mode=&cmd= "
    b"/manager/html /phpmyadmin/ /config.php /gate.php /news/ /blog/ /forum/ /user/ /users/ "
    b"/account/ /secure/ /security/ /update/ /updates/ /setup.exe /file.exe /document.pdf .html "
    b".php .asp .aspx .jsp .cgi .txt .xml .json .zip .gif .jpg .jpeg .swf .jar .class .dll .exe",
    b"http://www.google.com/ https://www.facebook.com/ youtube.com twitter.com microsoft.com "
    b"windowsupdate.com amazonaws.com cloudfront.net googleapis.com akamai.net doubleclick.net "
    b"apple.com .com .net .org .info .biz .co.uk .edu .gov .xyz .top .online .site .live .work "
    b".club .download .space .network .cloud .ru .cn .de .eu .tk",
)
MARKUP = (
    b'<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" '
    b'"http://www.w3.org/TR/xhtml1/'
    b'DTD/xhtml1-transitional.dtd">\r\n<html xmlns="http://www.w3.org/1999/xhtml" lang="en">'
    b'<head><title></title><meta http-equiv="Content-Type" content="text/html; '
    b'charset=utf-8" />'
    b'<meta name="viewport" content="width=device-width, initial-scale=1"><meta '
    b'name="description'
    b'" content="<meta name="keywords"><link rel="stylesheet" type="text/css" href="/style'
    b'.css" media="screen"></head>\r\n<body bgcolor="#ffffff" '
    b'onload="><div class="container" '
    b'id="content" style="display:none; position: absolute; '
    b"left:0px; top:0px; visibility: hidden"
    b"; width:100%; height:1px; margin:0 auto; padding:0; color:#000000; font-family: Arial, "
    b'Helvetica, sans-serif; font-size:12px; background: url(; text-align:center; border:0">',
    b'<p><br /><a href="http://" target="_blank" title=""><img '
    b'src="/images/" alt="" width="1'
    b'" height="1" border="0"></a><span class="><ul><li><table '
    b'cellpadding="0" cellspacing="0'
    b'"><tr><td align="center" valign="top"><iframe src="http://" '
    b'frameborder="0" scrolling='
    b'"no"></iframe><object classid="clsid: type="application/x-shockwave-flash" '
    b'data="><param '
    b'name="movie" value="><embed src="><applet code="archive="><h1></h1><h2></h2><strong><b>'
    b'<form method="post" action="login.php" name="form"><input '
    b'type="text" name="username" '
    b'value=""><input type="password" name="password"><input '
    b'type="hidden" name="><input type='
    b'submit value="Submit"><select><option value="><textarea><button '
    b'type="submit"><label></form>'
    b'</td></tr></table></ul></div></p></body></html>\r\n<script type="text/javascript" language='
    b'"JavaScript" src="></script><!-- --><style type="text/css"></style><noscript>&nbsp;&amp;'
    b"&lt;&gt;&quot;&copy;",
    b"<script>var i=0; function(){ return false; } document.write(unescape('%3C%3E%20%22'));"
    b"document.getElementById('').innerHTML = ''; window.location.href = \"\"; document.cookie; "
    b'new Array(); new Date().getTime(); new Object(); navigator.userAgent.indexOf("; toLowerCase('
    b') String.fromCharCode( parseInt( Math.random() Math.floor( setTimeout(" eval( .replace(/ '
    b".substr( .substring( .length; .split('') .join('') .push( for(var i=0;i< if(typeof (a==null)"
    b" else{ try{ }catch(e){} while( this.prototype. createElement('script') appendChild( "
    b"setAttribute(' escape( undefined true false null window.open( onclick=\"javascript: "
    b'addEventListener( ActiveXObject(" jQuery $( .ready( console.log( charCodeAt( .toString(',
    b'<?xml version="1.0" encoding="UTF-8"?>\r\n<soap:Envelope '
    b'xmlns:soap="http://schemas.xmlsoap'
    b'.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><s'
    b"oap:Body><?php "
    b'{"id":1,"name":"","type":"","status":"ok","data":{},"result":['
    b'],"error":null}',
)
TEXT = (
    b"the of and to in a is that for it was on are as with his they be at one have this from or "
    b"had by not but what all were we when your can said there use an each which she how their if "
    b"will up other about out many then them these so some her would make like him into time has "
    b"look two more write see number no way could people my than first been call who its now find "
    b"long down day did get come made may part over new sound take "
    b"only little work know place year "
    b"live me back give most very after thing our just name good "
    b"sentence man think say great where "
    b"help through much before line right too mean old any same tell follow came want show also "
    b"around form three small set put end does another well large must big even such because turn "
    b"here why ask went men read need land different home move try kind hand picture again change "
    b"off play spell air away animal house point page letter mother answer found study still learn "
    b"should world high every near add food between own below "
    b"country plant last school father keep",
    b"information application connection version service server system security password account "
    b"message address network user name login email mail online support windows microsoft internet "
    b"explorer update download upload install software program file files folder directory path "
    b"error warning failed success invalid access denied permission not found unable cannot please "
    b"click here contact customer payment transaction bank billing "
    b"credit card order number product "
    b"free search image images video music photo game games news article content description "
    b"comment default configuration settings options parameter function script document report "
    b"database table query select insert update delete where value values user() union all from "
    b"information_schema request response client session token key code data date time status type "
    b"action command execute shell control remote local host domain port proxy protocol process "
    b"thread memory library module component interface object class "
    b"string number integer null test "
    b"testing example sample admin administrator root guest public private company business world "
    b"station nation action section position condition operation authentication authorization "
    b"encryption certificate verification registration notification subscription implementation "
    b"suspicious malicious virus trojan exploit attack scanner hacker botnet payload",
    b"SELECT * FROM users WHERE id=1 AND 1=1 UNION ALL SELECT NULL,NULL,NULL-- INSERT INTO VALUES ("
    b"CREATE TABLE DROP TABLE UPDATE SET DELETE FROM ORDER BY GROUP BY CONCAT( CHAR( %20UNION%20"
    b"SELECT%20FROM%20 ../../../../../../etc/passwd /bin/sh /bin/bash -c cmd.exe /c uname -a; id; "
    b"wget http:// chmod 777 /tmp/ /usr/bin/ /usr/local/ /var/www/ /home/ /proc/self/ C:\\Windows\\"
    b"System32\\ C:\\Program Files\\ \\\\IPC$ Software\\Microsoft\\Windows\\CurrentVersion\\Run "
    b"HKEY_LOCAL_MACHINE kernel32.dll advapi32.dll user32.dll LoadLibraryA GetProcAddress "
    b"CreateProcess VirtualAlloc ExitProcess This program cannot be run in DOS mode.\r\r\n$ .text "
    b".data .rsrc .reloc .rdata KERNEL32.DLL #!/bin/sh\n#!/usr/bin/perl #include <stdio.h> import "
    b"java.lang.String java/lang/Object",
    b"0123456789 1.0 2.0 10.0.0.1 192.168.1.1 127.0.0.1 172.16.0.1 255.255.255.0 2010 2011 2012 "
    b"00:00:00 0x00 100% 000000 111111 12345678 abcdefghijklmnopqrstuvwxyz",
)
MAIL_AND_SHELL = (
    b"220 mail.example.com ESMTP Postfix\r\nEHLO HELO localhost\r\n250-SIZE "
    b"250 OK\r\n250-PIPELINING"
    b"\r\n250-STARTTLS\r\n250 8BITMIME\r\nMAIL FROM:<user@example.com>\r\nRCPT "
    b"TO:<>\r\nDATA\r\n354 "
    b"End data with <CR><LF>.<CR><LF>\r\nQUIT\r\n221 Bye\r\nReceived: "
    b"from by with SMTP id ; for\r\n"
    b'From: "\r\nTo: \r\nCc: \r\nSubject: Re: \r\nReply-To: \r\nMessage-ID: <\r\nDate: Mon, 1 Jan '
    b"2010 12:00:00 +0000\r\nMIME-Version: 1.0\r\nX-Mailer: Microsoft Outlook Express 6.00.2900\r\n"
    b"X-MimeOLE: Produced By\r\nX-Priority: 3\r\nImportance: Normal\r\nContent-Type: text/plain; "
    b'charset="iso-8859-1"; format=flowed\r\nContent-Transfer-Encoding: '
    b"quoted-printable 7bit 8bit"
    b"\r\nReturn-Path: <\r\nThis is a multi-part message in MIME "
    b"format.\r\n------=_NextPart_000_0000"
    b"\r\n=3D=20=0D=0A=\r\n+OK -ERR USER PASS STAT LIST RETR 1\r\n* OK IMAP4rev1 CAPABILITY LOGIN ",
    b"220 FTP server ready\r\nUSER anonymous\r\n331 Password required\r\nPASS "
    b"guest\r\n230 User logged "
    b"in\r\nSYST\r\n215 UNIX Type: L8\r\nPORT 10,0,0,1,4,1\r\nPASV\r\n227 "
    b"Entering Passive Mode (\r\n"
    b'TYPE I\r\nCWD PWD\r\n257 "/"\r\nRETR STOR DELE MKD RNFR RNTO SIZE MDTM SITE EXEC CHMOD 226 '
    b"Transfer complete.\r\n550 530 Login incorrect\r\nSSH-2.0-OpenSSH_7.4 SSH-1.99-libssh diffie-"
    b"hellman-group1-sha1,ecdh-sha2-nistp256,ssh-rsa,ssh-dss,aes128-ctr,aes256-cbc,3des-cbc,hmac-"
    b"sha1,hmac-md5,none,zlib@openssh.com\r\nlogin: Password: root:x:0:0:root:/root: "
    b"$ # uid=0(root)",
    b"NICK USER JOIN #channel PRIVMSG #: PING : PONG : :irc. 001 MODE +i QUIT NOTICE AUTH :*** "
    b"INVITE sip:user@ SIP/2.0\r\nVia: SIP/2.0/UDP ;branch=z9hG4bK\r\nFrom: "
    b"<sip:>;tag=\r\nCall-ID: "
    b"\r\nCSeq: 1 INVITE REGISTER OPTIONS ACK\r\nMax-Forwards: 70\r\nv=0\r\no=- "
    b"IN IP4 \r\nm=audio RTP/AVP"
    b"\r\nNOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "
    b'"ssdp:discover"\r\nNT: upnp:rootdevice'
    b"\r\nUSN: uuid: schemas-upnp-org:device:\r\nBitTorrent protocol d1:ad2:id20: 1:q9:get_peers",
)


def wide(text: bytes) -> bytes:
    """UTF-16LE."""
    return b"".join(bytes((byte, 0)) for byte in text)


_ZERO, _ONES = bytes(24), b"\xff" * 16
BINARY = (
    # DNS: identifier, flags, counts; names; types and classes
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03com\x00\x00"
    b"\x01\x00\x01",
    b"\x01\x20\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00",
    b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04",
    b"\x85\x80\x81\x83\x84\x00\x00\x01\x00\x02\x00\x03\x00\x04\x00\x00\x02in\x04addr\x04arpa\x00"
    b"\x00\x0c\x00\x01\x00\x00\x1c\x00\x01\x00\x00\x10\x00\x01\x00\x00\x0f\x00\x01\x00\x00\x06\x00"
    b"\x01\x00\x00\x02\x00\x01\x00\x00\x05\x00\x01\x00\x00\xff\x00\x01\x00\x00\x21\x00\x01",
    b"\x00\x01\x00\x00\x00\x00\x00\x00\x20EKEDFEEIEDCACACACACACACACACACAAA\x00\x00\x20\x00\x01",
    # TLS and X.509
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x16\x03\x03\x00\x14\x03\x03\x00\x01\x01\x17\x03"
    b"\x03\x15\x03\x01\x00\x02\x02\x28\x00\x00\x00\x00\x00\xff\x01\x00\x01\x00\x00\x0a\x00\x08\x00"
    b"\x06\x00\x17\x00\x18\x00\x19\x00\x0b\x00\x02\x01\x00\x00\x23\x00\x00\x00\x0d\x00\x0a\x00\x08",
    b"\xc0\x2f\xc0\x30\xc0\x2b\xc0\x2c\xc0\x13\xc0\x14\x00\x9c\x00\x9d\x00\x2f\x00\x35\x00\x0a\x00"
    b"\x05\x00\x04\x00\x39\x00\x33\x00\x32\x00\x16\x00\x13\x08h2\x08http/1.1",
    b"\x30\x82\x01\x0a\x02\x82\x01\x01\x00\x30\x82\x04\x30\x82\x03\xa0\x03\x02\x01\x02\x02\x10\x30"
    b"\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05\x05\x00\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7"
    b"\x0d\x01\x01\x0b\x05\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03\x82\x01\x0f"
    b"\x00\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04\x05\x00\x31\x0b\x30\x09\x06\x03\x55\x04\x06"
    b"\x13\x02US1\x130\x11\x06\x03\x55\x04\x08\x13\x0aCalifornia1\x160\x14\x06\x03\x55\x04\x07\x13"
    b"\x0dSan Francisco\x06\x03\x55\x04\x0a\x13\x06\x03\x55\x04\x0b\x13\x06\x03\x55\x04\x03\x13\x06"
    b"\x03\x55\x1d\x0f\x06\x03\x55\x1d\x13\x04\x05\x30\x03\x01\x01\xff\x30\x1e\x17\x0d200101000000Z"
    b"\x17\x0d300101000000Z\x2b\x06\x01\x05\x05\x07\x03\x01\x2b\x06\x01\x04\x01\x82\x37\x02\x01",
    # NetBIOS, SMB, SMB2, DCE/RPC, NTLM
    b"\x00\x00\x00\x85\xffSMBr\x00\x00\x00\x00\x18\x53\xc8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    b"\x00\x00\x00\x00\xff\xfe\x00\x00\x00\x00\x00\x62\x00\x02PC NETWORK PROGRAM 1.0\x00\x02LANMAN"
    b"1.0\x00\x02Windows for Workgroups 3.1a\x00\x02LM1.2X002\x00\x02LANMAN2.1\x00\x02"
    b"NT LM 0.12\x00",
    b"\x00\x00\x00\x54\xffSMBs\x00\x00\x00\x00\x18\x07\xc8\x00\x00\xffSMBu\xffSMB%\x00\x00\x00\x00"
    b"\xffSMB2\x00\xffSMB.\x00\xffSMB/\x00\xffSMB\xa2\x00\xffSMB\x04\x00\xffSMB+\x00\xffSMBt\x00",
    b"\xfeSMB\x40\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    b"\x05\x00\x0b\x03\x10\x00\x00\x00\x48\x00\x00\x00\x01\x00\x00\x00\xb8\x10\xb8\x10\x00\x00\x00"
    b"\x00\x01\x00\x00\x00\x00\x00\x01\x00\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10"
    b"\x48\x60\x02\x00\x00\x00\x05\x00\x00\x03\x10\x00\x00\x00\x05\x00\x02\x03\x10\x00\x00\x00",
    b"NTLMSSP\x00\x01\x00\x00\x00NTLMSSP\x00\x02\x00\x00\x00NTLMSSP\x00\x03\x00\x00\x00\x06\x06\x2b"
    b"\x06\x01\x05\x05\x02\xa0\x30\x2e\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x02\x02\x0a\x60\x48",
    b"\\PIPE\\\x00\\browser\x00IPC$\x00?????\x00",
    wide(
        b"\\\\SERVER\\IPC$ Windows NT 4.0 Windows 2000 5.0 Windows 7 Professional WORKGROUP DOMAIN "
    ),
    wide(
        b"\\PIPE\\srvsvc \\svcctl \\samr \\lsarpc \\epmapper C:\\Windows\\System32\\cmd.ex"
        b"e .dll .txt "
    ),
    wide(
        b"the service program security user Administrator password network framework information "
    ),
    # DHCP, NTP, SNMP, RDP, MySQL, RPC, Java, archives, images
    b"\x01\x01\x06\x00\x63\x82\x53\x63\x35\x01\x01\x35\x01\x03\x37\x0b\x01\x03\x06\x0f\x1f\x21",
    b"\x1b\x00\x00\x00\xe3\x00\x04\xfa\x00\x01\x00\x00\x00\x00\x30\x26\x02\x01\x00\x04"
    b"\x06public\xa0",
    b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00\x80\x00\x00\x28",
    b"\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x86\xa0\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00",
    b"\xac\xed\x00\x05sr\x00\xca\xfe\xba\xbe\x00\x00\x002PK\x03\x04\x14\x00\x00\x00\x08"
    b"\x00PK\x01\x02",
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03GIF89a\x01\x00\x01\x00\x80\x00\x00\x89PN"
    b"G\r\n\x1a\n\x00"
    b"\x00\x00\rIHDR\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01%PDF-1.4\n\x7fELF\x01\x01\x01"
    b"\x00MZ\x90\x00"
    b"\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00\xb8\x00\x00\x00PE\x00\x00L\x01\x03"
    b"\x00FWS CWS",
    # addresses, small numbers in both orders, alignments, options of TCP
    b"\x08\x00\x45\x00\x00\x28\x00\x00\x40\x00\x40\x06\x80\x06\x45\x00\x05\xdc\x02\x04\x05\xb4\x01"
    b"\x03\x03\x08\x01\x01\x04\x02\x01\x01\x08\x0a\x50\x10\x50\x18\x50\x02\x20\x00\x50\x11\xff\xff",
    b"\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00\x04\x00\x00\x00"
    b"\x08\x00\x00\x00\x10\x00\x00\x00\x20\x00\x00\x00\x40\x00\x00\x00\x80\x00\x00\x01\x00\x00\x00",
    b"\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00",
    b"\x00\x01\x00\x00\x00\x01\x00\x01\x00\x02\x00\x04\x00\x08\x00\x10\x00\x18\x00\x1c\x00\x00\x01",
    _ZERO + b"\x01" + _ZERO + b"\x02" + _ZERO + b"\xff" + _ZERO + b"\x80" + _ZERO,
    _ONES + b"\x00" + _ONES + b"\xfe" + _ONES,
    # fillers
    b"A" * 24 + b"B" * 16 + b"a" * 12 + b"\x90" * 16 + b"\xcc" * 8 + b"\xaa" * 8 + b"\x55" * 8,
    b" " * 24 + b"-" * 16 + b"=" * 16 + b"*" * 16 + b"_" * 12 + b"x" * 12 + b"X" * 8 + b"0" * 16,
    b"\t\t\t\t\r\n\r\n    \r\n" + b"\r\n\t\t" * 2 + b"." * 12 + b"/" * 8 + b"#" * 12 + b"~" * 8,
    b"abcdefghijklmnopqrstuvwabcdefghi!\"#$%&'()*+,-./01234567\x10\x11\x12\x13\x14\x15\x16\x17",
    b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEAAAAIAAAAQAAAAgAABAAACAAAAAAAA/AAAA==",
)

PHRASES = (*HTTP, *MARKUP, *TEXT, *MAIL_AND_SHELL, *BINARY)
