"""The recipes that come with oddjet, by name."""

import difflib
from pathlib import Path

from data.errors import ConfigError

_FOLDER = Path(__file__).with_name("recipes")


def ready_recipes() -> dict[str, Path]:
    """Name of each ready recipe to its file, in alphabetical order."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}


def recipe_path(recipe: str) -> Path:
    """The file of a recipe.

    Parameters
    ----------
    recipe
        Path of a YAML file, or the name of a ready recipe. A file wins.

    Returns
    -------
    Path
        An existing file.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if Path(recipe).is_file():
        return Path(recipe)
    ready = ready_recipes()
    if recipe in ready:
        return ready[recipe]
    near = difflib.get_close_matches(Path(recipe).stem, ready, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    msg = f"recipe '{recipe}' is neither a file nor a ready recipe; {hint}ready recipes: {', '.join(ready)}"
    raise ConfigError(msg)
