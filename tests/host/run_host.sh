#!/bin/bash
# run_host.sh DIR BASE PORT [ui]: the server of the ComfyUI in DIR, on 127.0.0.1. BASE holds
# custom_nodes/ (link the pack there), models/, input/ and output/. HOST_CORE names another core's
# tree to run with the same packages, HOST_ARGUMENTS more arguments. It runs on the CPU, unless
# HOST_DEVICE names another device that the machine has.
dir=$(cd "$1" && pwd); mkdir -p "$2"; base=$(cd "$2" && pwd); port=$3; ui=${4:-}
device=(--cpu); [ "${HOST_DEVICE:-cpu}" = cpu ] || device=()
mkdir -p "$base"/{custom_nodes,models,input,output,temp,user}
front=()
if [ -z "$ui" ]; then
  mkdir -p "$base/nofront"; echo '<!doctype html>' > "$base/nofront/index.html"
  front=(--front-end-root "$base/nofront")
fi
cd "${HOST_CORE:-$dir/ComfyUI}" || exit 1
export PYTHONPATH="$dir/shim"
exec "$dir/venv/bin/python" main.py "${device[@]}" --listen 127.0.0.1 --port "$port" --disable-auto-launch \
  --disable-api-nodes --base-directory "$base" --database-url sqlite:///:memory: "${front[@]}" \
  ${HOST_ARGUMENTS:-}  # words on purpose
