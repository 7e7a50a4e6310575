"""Takes what a build against libtorch needs out of wheels (they are zip files); nothing is installed or imported.

In: a list of "size path" lines (scripts/libtorch/*-files.txt), wheels, and an empty or missing folder.
Out: that folder with the listed files, torch/include and every package's licences. Exit 1 names what is missing.
"""

import sys
import zipfile


def wanted(name, listed):
    """Whether the member `name` of a wheel is kept."""
    in_licences = ".dist-info/" in name and name.rsplit("/", 1)[-1].lower().startswith(("licen", "notice", "metadata"))
    return name in listed or name.startswith("torch/include/") or in_licences


def main(list_file, folder, wheels):
    with open(list_file, encoding="utf-8") as lines:
        listed = {line.split()[1] for line in lines if line.strip() and not line.startswith("#")}
    found = set()
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if wanted(name, listed):
                    archive.extract(name, folder)  # checks the CRC-32 of the member
                    found.add(name)
    for name in sorted(listed - found):
        print(f"none of the wheels holds {name}", file=sys.stderr)
    return 1 if listed - found else 0


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: unpack-wheels.py LIST FOLDER WHEEL...")
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
