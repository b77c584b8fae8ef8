import pytest
from PIL import Image


@pytest.fixture
def pets(root):
    """Two red cats, with green margins far left and right of the middle square, and one blue dog."""
    for number in range(2):
        picture = Image.new("RGB", (24, 12), (0, 255, 0))
        picture.paste((200, 0, 0), (3, 0, 21, 12))
        (root / "pets" / "cat").mkdir(parents=True, exist_ok=True)
        picture.save(root / "pets" / "cat" / f"{number}.png")
    (root / "pets" / "dog").mkdir()
    Image.new("RGB", (12, 12), (30, 60, 90)).save(root / "pets" / "dog" / "a.png")
    return root / "pets"
