#!/usr/bin/env bash
# Builds the Kotlin API for Android: the native library for each processor, the jar, and the AAR of both.
#
# NOT RUN: no NDK could be had where limbeck is developed. What `cargo xtask package --android` does is tested on
# placeholders; it refuses libraries that are not Android's.
#
# Needs: an NDK, r28 or later (ANDROID_NDK_HOME), cargo-ndk, a JDK, Maven, and
#   rustup target add aarch64-linux-android armv7-linux-androideabi x86_64-linux-android
#
# Usage: bindings/kotlin/android.sh [DIR]      (default: out/android)
set -euo pipefail

cd "$(dirname "$0")/../.."
out=${1:-out/android}

if [ -z "${ANDROID_NDK_HOME:-}" ]; then
    echo "error: set ANDROID_NDK_HOME to an Android NDK, r28 or later" >&2
    exit 1
fi
for tool in cargo-ndk mvn; do
    if ! command -v "$tool" >/dev/null; then
        echo "error: no $tool (cargo install cargo-ndk; apt-get install maven)" >&2
        exit 1
    fi
done

cargo ndk -t arm64-v8a -t armeabi-v7a -t x86_64 -o "$out/jniLibs" build --locked --profile min-size -p limbeck-jni
mvn -B -ntp -q -f bindings/kotlin/pom.xml package -DskipTests
cargo xtask package --android "$out/jniLibs" --out "$out"

echo "To the local Maven repository: mvn install:install-file -Dfile=$(ls "$out"/*.aar) -DpomFile=$(ls "$out"/*.pom)"
