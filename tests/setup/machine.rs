//! A machine to set up: a copy of the scripts, short lists of wheels and libraries, and a PATH of its own.
//!
//! The PATH holds stubs for what the tests examine (uname, c++, cargo, python3 ...) and links to the ordinary tools of
//! the system. The stub of pip serves wheels from a folder; nothing reaches a network.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

use system_tests::root;
use tempfile::TempDir;

/// Tools of the system that the script uses as they are.
const ORDINARY: &[&str] = &[
    "awk", "cat", "cp", "cut", "dirname", "du", "flock", "grep", "head", "mkdir", "mv", "paste", "rm",
    "rmdir", "sed", "seq", "sort", "stat", "touch", "wc",
];

/// A torch wheel of two libraries instead of one of 500 MB; the size in the list is checked like the real one.
const LIBRARIES: &[(&str, &str)] =
    &[("torch/lib/libtorch_cpu.so", "cpu"), ("torch/lib/libc10.so", "c10 c10")];
/// What the header of the expected version defines.
pub(crate) const VERSION_HEADER: &str =
    "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 13\n#define TORCH_VERSION_PATCH 0\n";

/// `pip download` that serves the wheels of $STUB_WHEELS and fails for a package that is not there.
const PYTHON_WITH_PIP: &str = r#"
case "$*" in
  '-m pip --version') echo "pip ${STUB_PIP:-24.0} from here (python 3.11)"; exit 0 ;;
  '-m pip'*)
    while [ $# -gt 0 ]; do
      case "$1" in --dest) dest=$2 ;; --requirement) list=$2 ;; esac
      shift
    done
    name=$(sed -E 's/==.*//; s/-/_/g' "$list")
    echo "$name" >>"$STUB_WHEELS/asked"
    cp "$STUB_WHEELS/$name"-*.whl "$dest" ;;
  *) exec "$REAL_PYTHON" "$@" ;;
esac
"#;

fn on_path(tool: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{tool} is needed to run this test"))
}

/// The interpreter itself: what PATH has may be a wrapper that needs its own PATH.
fn real_python() -> String {
    let output =
        Command::new(on_path("python3")).args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(crate) struct Machine {
    /// Goes with the machine.
    pub(crate) folder: TempDir,
}

impl Machine {
    /// A machine on which nothing is missing.
    pub(crate) fn ready() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["bin", "wheels", "checkout/scripts/libtorch"] {
            fs::create_dir_all(machine.folder.path().join(folder)).unwrap();
        }
        for tool in ORDINARY {
            symlink(on_path(tool), machine.bin(tool)).unwrap();
        }
        for file in ["scripts/setup-libtorch.sh", "scripts/unpack-wheels.py"] {
            fs::copy(root().join(file), machine.checkout(file)).unwrap();
        }
        fs::write(machine.checkout("Cargo.toml"), "[workspace.package]\nrust-version = \"1.95\"\n").unwrap();
        let wheels =
            "# of this test\ntorch==2.13.0 --hash=sha256:1\nnvidia-cuda-runtime==13.0.96 --hash=sha256:2\n";
        let mut files = String::from("# of this test\n2 nvidia/cu13/lib/libcudart.so.13\n");
        for (path, contents) in LIBRARIES {
            files.push_str(&format!("{} {path}\n", contents.len()));
        }
        for mode in ["cpu", "cuda"] {
            fs::write(machine.checkout(&format!("scripts/libtorch/{mode}-wheels.txt")), wheels).unwrap();
            fs::write(machine.checkout(&format!("scripts/libtorch/{mode}-files.txt")), &files).unwrap();
        }
        machine.stub("uname", "case $1 in -s) echo Linux ;; -m) echo x86_64 ;; esac");
        machine.stub("getconf", "echo glibc 2.36");
        machine.stub("df", "echo header; echo /dev/x 1 1 99999999 1% /");
        machine.stub("cargo", "exit 0");
        machine.stub("rustc", "echo 'rustc 1.95.0 (abc 2026-03-21)'");
        machine.stub("c++", "exit 0");
        machine.stub("python3", PYTHON_WITH_PIP);
        machine
    }

    fn bin(&self, tool: &str) -> PathBuf {
        self.folder.path().join("bin").join(tool)
    }

    pub(crate) fn checkout(&self, path: &str) -> PathBuf {
        self.folder.path().join("checkout").join(path)
    }

    fn wheels(&self) -> PathBuf {
        self.folder.path().join("wheels")
    }

    fn stub(&self, tool: &str, script: &str) {
        fs::write(self.bin(tool), format!("#!{}\n{script}\n", on_path("bash").display())).unwrap();
        fs::set_permissions(self.bin(tool), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn without(self, tool: &str) -> Self {
        fs::remove_file(self.bin(tool)).unwrap();
        self
    }

    pub(crate) fn with(self, tool: &str, script: &str) -> Self {
        self.stub(tool, script);
        self
    }

    /// Puts a wheel (a zip file) with these members on the stub index.
    pub(crate) fn serve(&self, wheel: &str, members: &[(&str, &str)]) {
        let write = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1], 'w')\n\
                     for n, c in zip(sys.argv[2::2], sys.argv[3::2]): z.writestr(n, c)\nz.close()";
        let flat = members.iter().flat_map(|(name, contents)| [*name, *contents]);
        let path = self.wheels().join(wheel);
        let status = Command::new(real_python()).args(["-c", write]).arg(path).args(flat).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn serve_torch(&self) {
        let unwanted = [("torch/lib/libtorch_python.so", "no"), ("torch/__init__.py", "no")];
        let header = [
            ("torch/include/torch/headeronly/version.h", VERSION_HEADER),
            ("torch-2.13.0.dist-info/licenses/LICENSE", "BSD"),
        ];
        self.serve("torch-2.13.0-cp311-x.whl", &[LIBRARIES, &unwanted, &header].concat());
    }

    pub(crate) fn serve_cuda_runtime(&self) {
        self.serve("nvidia_cuda_runtime-13.0.96-py3-x.whl", &[("nvidia/cu13/lib/libcudart.so.13", "rt")]);
    }

    pub(crate) fn set_up_with(&self, settings: &[(&str, &str)]) -> Output {
        Command::new(on_path("bash"))
            .arg(self.checkout("scripts/setup-libtorch.sh"))
            .env_clear()
            .env("PATH", self.folder.path().join("bin"))
            .env("STUB_WHEELS", self.wheels())
            .env("REAL_PYTHON", real_python())
            .envs(settings.iter().copied())
            .output()
            .unwrap()
    }

    pub(crate) fn set_up(&self) -> Output {
        self.set_up_with(&[])
    }

    /// The packages that pip was asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        let log = fs::read_to_string(self.wheels().join("asked")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}
