#!/bin/sh
# Runs limbeck-bench on a board by ssh, and brings the result back as JSON on standard output.
#
#   capi/bench/run-ssh.sh HOST PROGRAM BUNDLE LIBONNXRUNTIME [OPTIONS OF LIMBECK-BENCH] > board.json
#
# PROGRAM is a limbeck-bench built for the board. The three files go to a folder of their own under
# /tmp there, which is removed again whatever happens. SSH and SCP name other programs than ssh
# and scp ("ssh -p 2222"). It was tried with stand-ins for ssh and scp, not with a board.
set -eu
if [ $# -lt 4 ]; then
    sed -n 's/^# \{0,1\}//p' "$0" | sed -n '2,8p' >&2
    exit 2
fi
host=$1 program=$2 bundle=$3 runtime=$4
shift 4
for file in "$program" "$bundle" "$runtime"; do
    [ -f "$file" ] || { echo "run-ssh.sh: $file is no file" >&2; exit 2; }
done
ssh=${SSH:-ssh} scp=${SCP:-scp}

# Options as one line for the shell over there, each in quotes.
options=
for option; do
    options="$options '$(printf %s "$option" | sed "s/'/'\\\\''/g")'"
done

# shellcheck disable=SC2086 # SSH and SCP may have options
folder=$($ssh "$host" 'mktemp -d /tmp/limbeck-bench.XXXXXX')
case $folder in
/tmp/limbeck-bench.*) ;;
*) echo "run-ssh.sh: $host made no folder: $folder" >&2; exit 1 ;;
esac
# shellcheck disable=SC2064,SC2086 # the folder is known now
trap "$ssh '$host' 'rm -rf $folder' >/dev/null 2>&1 || :" EXIT
trap 'exit 1' INT TERM
# shellcheck disable=SC2086
$scp "$program" "$host:$folder/limbeck-bench" >&2
# shellcheck disable=SC2086
$scp "$bundle" "$host:$folder/model.limbeck" >&2
# shellcheck disable=SC2086
$scp "$runtime" "$host:$folder/libonnxruntime.so" >&2
# shellcheck disable=SC2086
$ssh "$host" "cd $folder && chmod +x limbeck-bench && ./limbeck-bench model.limbeck --runtime ./libonnxruntime.so --json$options"
