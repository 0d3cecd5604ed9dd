"""Image files: pixels for training, photographs with all that they carry, lists of them. It imports `errors` alone."""

from dcpt_data.images.pixels import (
    EncodedImage,
    Window,
    encode_image,
    list_images,
    list_names,
    open_image,
    read_image,
    stem,
    to_float,
    to_uint8,
    write_image,
)

__all__ = [
    "EncodedImage",
    "Window",
    "encode_image",
    "list_images",
    "list_names",
    "open_image",
    "read_image",
    "stem",
    "to_float",
    "to_uint8",
    "write_image",
]
