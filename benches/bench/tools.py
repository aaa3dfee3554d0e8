"""Virtual environments with the other tools, made of `benches/requirements.txt`."""

import os
import subprocess
import sys


def requirements(path):
    """Environment -> its lines of the file; `#: NAME` begins a block."""
    blocks, name = {}, None
    with open(path) as file:
        for line in file.read().splitlines():
            if line.startswith("#: "):
                name = line[3:].strip()
                blocks[name] = []
            elif name and line.strip():
                blocks[name].append(line.strip())
    return blocks


def prepare(campaign, name):
    """The `bin` folder of an environment, made if it is not there or its block has changed.

    Raises CalledProcessError when something cannot be installed.
    """
    wanted = "\n".join(requirements(os.path.join(campaign.root, "benches", "requirements.txt"))[name]) + "\n"
    folder = os.path.join(campaign.tools, name)
    stamp = os.path.join(folder, "requirements.txt")
    if not os.path.exists(stamp) or open(stamp).read() != wanted:
        campaign.say(f"installs {name}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        # Written first: what it names is what pip is given.
        listed = os.path.join(folder, "wanted.txt")
        with open(listed, "w") as file:
            file.write(wanted)
        pip = [os.path.join(folder, "bin", "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--disable-pip-version-check", "-r", listed], check=True)
        os.rename(listed, stamp)
    return os.path.join(folder, "bin")
