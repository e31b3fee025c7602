#!/usr/bin/env bash
# Builds liblimbeck.so for Android into DIR/jniLibs/ABI/, ready for an app or an AAR.
#
# NOT RUN: no NDK could be had where limbeck is developed. There the library is
# type-checked for Android and no more (capi/abi/cross-results.txt).
#
# Needs: an NDK, r28 or later (ANDROID_NDK_HOME), and
#   rustup target add aarch64-linux-android armv7-linux-androideabi x86_64-linux-android
#
# With cargo-ndk instead, from the root of the repository:
#   cargo ndk -t arm64-v8a -t armeabi-v7a -t x86_64 -o jniLibs build --profile min-size -p limbeck-capi
#
# Usage: capi/packaging/android.sh [DIR]      (default: out/android)
set -euo pipefail

cd "$(dirname "$0")/../.."
out=${1:-out/android}

if [ -z "${ANDROID_NDK_HOME:-}" ]; then
    echo "error: set ANDROID_NDK_HOME to an Android NDK, r28 or later" >&2
    exit 1
fi

for pair in arm64-v8a:aarch64-linux-android armeabi-v7a:armv7-linux-androideabi x86_64:x86_64-linux-android; do
    abi=${pair%%:*}
    target=${pair#*:}
    # It also looks at symbols, SONAME, needed libraries, and pages of 16 KiB.
    cargo xtask package --target "$target" --out "$out/packages"
    mkdir -p "$out/jniLibs/$abi"
    cp "$out"/packages/limbeck-*-"$target"/lib/liblimbeck.so "$out/jniLibs/$abi/"
done

echo "$out/jniLibs is ready. The app also needs one libonnxruntime.so an ABI, 1.24 or later, in the same folders."
