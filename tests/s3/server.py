"""An S3 service in memory, on a free port, which it prints. It ends with its standard input."""

import os
import sys
import threading

from moto.server import create_backend_app
from werkzeug.serving import make_server

service = make_server("127.0.0.1", 0, create_backend_app("s3"), threaded=True)
print(service.port, flush=True)
threading.Thread(target=service.serve_forever, daemon=True).start()
sys.stdin.read()
os._exit(0)
