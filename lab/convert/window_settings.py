"""Lists the settings of transformers' models that limit which tokens see each other, with the models that have them.

    python lab/convert/window_settings.py     # needs transformers alone, see lab/requirements.txt

Attributes of every configuration whose names the pattern finds. packages/convert/src/source/windows.ts has the same
pattern; packages/convert/test/windows.test.ts the names.
"""

import re

import transformers
from transformers import CONFIG_MAPPING

PATTERN = re.compile(
    r"sliding|window|local_att|global_att|rope_local|(?:^|_)layer_types$|(?:^|_)swa(?:_|$)"
    r"|att(?:n|ention)_(?:chunk|types$|pattern)"
)


def main() -> None:
    found: dict[str, list[str]] = {}
    for name in sorted(CONFIG_MAPPING):
        try:
            settings = vars(CONFIG_MAPPING[name]())
        except Exception:  # noqa: BLE001: a configuration that wants parts of others
            continue
        for setting in settings:
            if PATTERN.search(setting):
                found.setdefault(setting, []).append(name)
    print(f"transformers {transformers.__version__}")
    for setting, models in sorted(found.items()):
        print(f"{setting}: {', '.join(models)}")


if __name__ == "__main__":
    main()
