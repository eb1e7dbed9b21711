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
#: Requests for detections that wait for a thread or have one; a further one is told to come back, instead of waiting for seconds.
MAX_WAITING: Final = 16
