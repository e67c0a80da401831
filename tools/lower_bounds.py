"""Print the lower bounds of pyproject.toml as pins, one a line: constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
for requirement in project["dependencies"] + extras["book"] + extras["test"]:
    print(re.sub(r"^([\w.-]+)>=([\w.]+).*$", r"\1==\2", requirement))
