"""The package that `cargo xtask package` makes, for Conan 2:

    conan create capi/packaging/conan -c user.limbeck:package=/path/to/the/folder

The version is that of the workspace.
"""

import os
import re

from conan import ConanFile
from conan.errors import ConanException, ConanInvalidConfiguration
from conan.tools.files import copy, load

TARGETS = {
    ("Linux", "x86_64"): "x86_64-unknown-linux-gnu",
    ("Linux", "armv8"): "aarch64-unknown-linux-gnu",
    ("Android", "x86_64"): "x86_64-linux-android",
    ("Android", "armv8"): "aarch64-linux-android",
    ("Android", "armv7"): "armv7-linux-androideabi",
    ("Macos", "armv8"): "aarch64-apple-darwin",
}
PKG_CONFIG = "lib/pkgconfig/limbeck.pc"


class Limbeck(ConanFile):
    name = "limbeck"
    description = "Run distilled language models from one bundle"
    license = "MIT OR Apache-2.0"
    homepage = "https://github.com/limbeck/limbeck"
    url = homepage
    topics = ("nlp", "onnx", "inference")
    package_type = "library"
    # A C interface: the compiler of the program and its build type do not matter.
    settings = "os", "arch"
    options = {"shared": [True, False]}
    default_options = {"shared": True}

    def set_version(self):
        cargo = load(self, os.path.join(self.recipe_folder, "../../../Cargo.toml"))
        self.version = re.search(r'^version = "([^"]+)"', cargo, re.MULTILINE).group(1)

    def _target(self):
        return TARGETS.get((str(self.settings.os), str(self.settings.arch)))

    def validate(self):
        if self._target() is None:
            raise ConanInvalidConfiguration(f"limbeck is not made for {self.settings.os} on {self.settings.arch}")

    def package(self):
        folder = self.conf.get("user.limbeck:package", check_type=str)
        if not folder:
            raise ConanException(
                f"give the folder that `cargo xtask package --target {self._target()}` makes: "
                "-c user.limbeck:package=FOLDER"
            )
        title = load(self, os.path.join(folder, "README.md")).splitlines()[0]
        if title != f"# limbeck {self.version} for {self._target()}":
            raise ConanException(f"{folder} is another package than limbeck {self.version} for {self._target()}: {title}")
        libraries = ["liblimbeck*.so*", "liblimbeck*.dylib"] if self.options.shared else ["liblimbeck.a"]
        for pattern in libraries:
            copy(self, pattern, os.path.join(folder, "lib"), os.path.join(self.package_folder, "lib"))
        copy(self, PKG_CONFIG, folder, self.package_folder)
        # The module map is for Swift.
        copy(self, "limbeck.h*", os.path.join(folder, "include"), os.path.join(self.package_folder, "include"))
        copy(self, "LICENSE-*", folder, os.path.join(self.package_folder, "licenses"))

    def package_info(self):
        self.cpp_info.libs = ["limbeck"]
        if not self.options.shared:
            text = load(self, os.path.join(self.package_folder, PKG_CONFIG))
            private = re.search(r"^Libs\.private:(.*)", text, re.MULTILINE).group(1)
            self.cpp_info.system_libs = [flag.removeprefix("-l") for flag in private.split()]
