"""How large a request may be; enforced by the readers and ``application``, told by ``openapi`` and the ``/docs`` page."""

from __future__ import annotations

from typing import Final

MAX_ROWS: Final = 10_000
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
MAX_STRING_CHARACTERS: Final = 10_000

#: Images or clouds in one request, and the bytes of its body.
MAX_FRAMES: Final = 16
MAX_FRAME_BODY_BYTES: Final = 32 * 1024 * 1024
#: Pixels of one image, asked of its header before anything is decompressed: a few bytes can claim to be gigabytes.
MAX_IMAGE_PIXELS: Final = 16 * 1024 * 1024
MAX_POINTS: Final = 1_000_000
#: Scans of one JPEG file. Each costs a pass over the image, however few bytes it has; encoders make about ten.
MAX_JPEG_SCANS: Final = 100
#: Requests for detections that wait for a thread or have one; a further one is told to come back, instead of waiting for seconds.
MAX_WAITING: Final = 16
#: Bytes of the bodies that are being received or answered; a further request is told to come back, instead of filling the memory.
MAX_HELD_BYTES: Final = 512 * 1024 * 1024
#: Seconds that a body may take to arrive.
BODY_SECONDS: Final = 60.0
