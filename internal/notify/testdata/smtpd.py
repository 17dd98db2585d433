"""A mail server for a test: Debian's aiosmtpd with STARTTLS and a login.

Prints its port, then one JSON line a mail. no@... is refused, later@... is put
off, and soon@... the first two times, as real servers do.
"""
import json
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    asked = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("no@"):
            return "550 no such user"
        if address.startswith("later@"):
            return "451 greylisted, come again"
        if address.startswith("soon@"):
            self.asked += 1
            if self.asked <= 2:
                return "451 greylisted, come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({
            "from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": session.ssl is not None,
            "data": envelope.content.decode("utf-8"),
        }), flush=True)
        return "250 OK"


def login(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"grace", b"s3cret"), handled=False)


class Server(Controller):
    def factory(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        return SMTP(self.handler, hostname="127.0.0.1", tls_context=context, require_starttls=True,
                    authenticator=login, auth_required=True)


server = Server(Handler(), hostname="127.0.0.1", port=int(sys.argv[3]))
server.start()
print("ready", flush=True)
sys.stdin.read()  # until the test ends
server.stop()
