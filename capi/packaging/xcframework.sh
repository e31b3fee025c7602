#!/usr/bin/env bash
# Builds Limbeck.xcframework: the static library for iOS devices, for the iOS
# simulator and for macOS, with limbeck.h and a module map (`import CLimbeck`).
#
# NOT RUN: it needs a Mac with Xcode, which is not to be had where limbeck is
# developed. There the library is type-checked for aarch64-apple-ios and no more
# (capi/abi/cross-results.txt).
#
# Needs: Xcode, and
#   rustup target add aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios \
#       aarch64-apple-darwin x86_64-apple-darwin
#
# Usage: capi/packaging/xcframework.sh [DIR]      (default: out/xcframework)
set -euo pipefail

cd "$(dirname "$0")/../.."
out=${1:-out/xcframework}
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
# The oldest systems that are served; yours if you set them. ONNX Runtime has a say, too.
export IPHONEOS_DEPLOYMENT_TARGET=${IPHONEOS_DEPLOYMENT_TARGET:-15.1}
export MACOSX_DEPLOYMENT_TARGET=${MACOSX_DEPLOYMENT_TARGET:-13.4}

for tool in xcodebuild lipo plutil ditto; do
    if ! command -v "$tool" >/dev/null; then
        echo "error: no $tool: this needs a Mac with Xcode" >&2
        exit 1
    fi
done

target_dir=${CARGO_TARGET_DIR:-target}
library() {
    echo "$target_dir/$1/min-size/liblimbeck.a"
}
for target in aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios aarch64-apple-darwin x86_64-apple-darwin; do
    # An iOS app takes no bare dylib, so only the static library is made.
    cargo rustc --locked --package limbeck-capi --lib --profile min-size --target "$target" --crate-type staticlib
done

rm -rf "$out"
mkdir -p "$out/headers" "$out/simulator" "$out/macos"
cp capi/include/limbeck.h capi/packaging/module.modulemap "$out/headers/"

# One library a platform: those of several processors go into one file.
lipo -create "$(library aarch64-apple-ios-sim)" "$(library x86_64-apple-ios)" -output "$out/simulator/liblimbeck.a"
lipo -create "$(library aarch64-apple-darwin)" "$(library x86_64-apple-darwin)" -output "$out/macos/liblimbeck.a"

xcodebuild -create-xcframework \
    -library "$(library aarch64-apple-ios)" -headers "$out/headers" \
    -library "$out/simulator/liblimbeck.a" -headers "$out/headers" \
    -library "$out/macos/liblimbeck.a" -headers "$out/headers" \
    -output "$out/Limbeck.xcframework"

# xcodebuild writes Info.plist: one entry a platform.
plist="$out/Limbeck.xcframework/Info.plist"
plutil -lint "$plist"
for number in 0 1 2; do
    plutil -extract "AvailableLibraries.$number.LibraryIdentifier" raw "$plist"
done
cp LICENSE-APACHE LICENSE-MIT "$out/Limbeck.xcframework/"

# For Package.swift: .binaryTarget(name: "CLimbeck", url: ..., checksum: ...), whose
# checksum is the SHA-256 of the archive.
archive="Limbeck-$version.xcframework.zip"
(cd "$out" && ditto -c -k --keepParent Limbeck.xcframework "$archive")
shasum -a 256 "$out/$archive"
