#!/usr/bin/env bash
# Builds the C library, tests the Swift package over it with the conformance cases, and runs the examples.
#
# Needs swift 5.9 or later, and ORT_DYLIB_PATH (`cargo xtask test --filter swift` sets it). Where there is no swift, as root on
# Debian: --debian DIR puts Debian trixie with its swiftlang into DIR (3.4 GB, by debootstrap), and works in there.
#
# Usage: bindings/swift/test.sh [--debian DIR] [--save]
#   --save   write what came of it to bindings/swift/results.txt
set -euo pipefail

cd "$(dirname "$0")/../.."
root=$PWD
debian='' save=''
while [ $# -gt 0 ]; do
    case $1 in
    --debian) debian=$2 && shift 2 ;;
    --save) save=1 && shift ;;
    *) echo "error: unknown option $1; see the first lines of $0" >&2 && exit 2 ;;
    esac
done
: "${ORT_DYLIB_PATH:?set it to an ONNX Runtime library, or use: cargo xtask test --filter swift}"

# As the other tests build it, so that it is not compiled twice.
LIMBECK_CAPI_TEST_HOOKS=${LIMBECK_CAPI_TEST_HOOKS:-0} cargo build --package limbeck-capi --lib
libraries=$(mktemp -d)
trap 'rm -rf "$libraries"' EXIT
# The name that programs are linked to.
cp "${CARGO_TARGET_DIR:-target}/debug/liblimbeck.so" "$libraries/liblimbeck.so"
ln -s liblimbeck.so "$libraries/liblimbeck.so.0"
# Put before the library, it makes of it one of another ABI, as far as limbeck_abi_check sees.
cc -shared -fPIC -o "$libraries/libother.so" -x c - <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
int32_t limbeck_abi_check(uint32_t ours, void **error) {
    return ((int32_t (*)(uint32_t, void **))dlsym(RTLD_NEXT, "limbeck_abi_check"))(ours + 65536, error);
}
END
cp -L "$ORT_DYLIB_PATH" "$libraries/libonnxruntime.so"

# Run with the repository at $1 and the libraries at $2.
inside=$(
    cat <<'END'
set -eu
cd "$1/bindings/swift"
export LD_LIBRARY_PATH="$2" LIMBECK_CASES="$1/tests/conformance" LIMBECK_RUNTIME="$2/libonnxruntime.so"
# Built outside of the repository, which may be another machine's.
work=${TMPDIR:-/tmp}/limbeck-swift-$(id -u)
mkdir -p "$work"
# One run at a time: another checkout's uses the same folders.
exec 9>"$work/lock"
flock -w 900 9 || { echo "error: another run has held $work for 15 minutes" >&2; exit 1; }
# SwiftPM leaves folders behind.
rm -rf "$work/tmp"
mkdir "$work/tmp"
export TMPDIR="$work/tmp"
set -- "$1" --disable-sandbox -Xcc "-I$1/capi/include" -Xlinker "-L$2"
repository=$1 && shift
swift --version 2>&1 | grep 'Swift version'
# The manifest for Apple's systems is at least read, and names the framework.
mkdir -p "$work/apple"
sed 's/#if os(Linux)/#if os(macOS)/' Package.swift >"$work/apple/Package.swift"
swift package --package-path "$work/apple" --disable-sandbox dump-package | grep '"type" : "binary"'
swift test --scratch-path "$work/tests" "$@" 2>&1
# From nothing: SwiftPM does not see new files of a package beside this one.
rm -rf "$work/examples"
cd "$repository/examples/swift/programs"
swift build --scratch-path "$work/examples" "$@" 2>&1
bundles=$repository/tests/conformance/bundles programs=$work/examples/debug
run() {
    echo "-- $1"
    program=$1 bundle=$2 && shift 2
    "$programs/$program" "$bundles/$bundle.limbeck" "$LIMBECK_RUNTIME" "$@"
}
run Sentiment tiny "a good film" bad
run Entities entities "🙂 Ada Lovelace wrote it, London"
run Answer reader "Who wrote it?" "It: Ada Lovelace wrote it."
run Similarity embedder "good film" bad good
run Generate teller $'x: bad\nx:'
printf 'good\nbad\n' | run HotSwap tiny "$bundles/later.limbeck"
printf 'good\nbad\n' | run HotSwap tiny "$bundles/failing.limbeck"
echo "-- another ABI"
! LD_PRELOAD=$LD_LIBRARY_PATH/libother.so "$programs/Sentiment" "$bundles/tiny.limbeck" "$LIMBECK_RUNTIME" good >"$work/other" 2>&1
grep -o 'the program was built for ABI 1.1 of limbeck and this library .* has ABI 0.1: update the library' "$work/other"
END
)

if [ -z "$debian" ]; then
    command=(bash -c "$inside" bash "$root" "$libraries")
else
    # A link that leads nowhere from out here.
    if [ ! -L "$debian/usr/bin/swift" ]; then
        command -v debootstrap >/dev/null || apt-get install -y -qq debootstrap >/dev/null
        debootstrap --variant=minbase trixie "$debian" http://deb.debian.org/debian
        chroot "$debian" apt-get install -y -qq --no-install-recommends swiftlang libc6-dev libstdc++-14-dev git
        chroot "$debian" apt-get clean
    fi
    mkdir -p "$debian/limbeck" "$debian/libraries"
    # Mounts of a namespace of its own: they go with it. Without /proc swift does not find its libraries.
    # shellcheck disable=SC2016  # for the inner shell
    mounted='mount --rbind /dev "$1/dev" && mount -t proc proc "$1/proc" &&
        mount --bind "$3" "$1/limbeck" && mount --bind "$4" "$1/libraries" &&
        exec chroot "$1" env -i PATH=/usr/bin:/bin HOME=/tmp LC_ALL=C.UTF-8 bash -c "$2" bash /limbeck /libraries'
    command=(unshare --mount bash -c "$mounted" bash "$debian" "$inside" "$root" "$libraries")
fi

log=$libraries/log
"${command[@]}" | tee "$log"
if [ -n "$save" ]; then
    {
        echo "What bindings/swift/test.sh --save found on $(date -u +%Y-%m-%d), limbeck at $(git rev-parse --short=12 HEAD)."
        echo "x86-64 Linux only: no Apple system has run it."
        echo
        grep -E "Swift version|\"binary\"|conformance cases|left no handle|^Test Case .*(passed|failed)|Executed" "$log" | sed -E 's/ \([0-9.]+ seconds\)//; s/ in [0-9.]+ \([0-9.]+\) seconds//'
        echo
        sed -n '/^-- Sentiment/,$p' "$log" | sed -E 's/ [0-9.]+ ms / N ms /; s/, [0-9.]+ tokens a second/, N tokens a second/'
    } >bindings/swift/results.txt
    echo "bindings/swift/results.txt is written"
fi
