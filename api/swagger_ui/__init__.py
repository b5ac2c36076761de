"""The page of the API's documentation: swagger-ui-dist 5.35.0 of npm, kept here so that it works offline.

`index.html` and `start.js` are ours; the other files are as they were published, but for their links to source maps.
"""

from importlib import resources

PAGE = "index.html"

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
"""What the page loads, and the type of each."""


def content(name: str) -> bytes:
    """The bytes of a file, which is PAGE or one of ASSETS."""
    return resources.files(__name__).joinpath(name).read_bytes()
