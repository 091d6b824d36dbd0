#!/usr/bin/env bash
# gyeol model pull against a hub on this machine (tests/hub_server.c) that behaves well, badly and maliciously. What it
# lists was hashed by sha256sum and sha1sum.
. "$(dirname "$0")/tap.sh"
unset HF_TOKEN HUGGING_FACE_HUB_TOKEN HF_ENDPOINT http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
export no_proxy='*'
root=$dir/hub log=$dir/requests work=$dir/work
mkdir -p "$root" "$work"

# manifest NAME FILE...: FILE is PATH or PATH=BYTES; weights are in LFS, the rest in git.
model() {
    local name=$1 f path bytes kind hash
    shift
    for f in "$@"; do
        path=${f%%=*} bytes=300
        [[ $f == *=* ]] && bytes=${f#*=}
        mkdir -p "$(dirname "$root/$name/$path")"
        head -c "$bytes" /dev/urandom >"$root/$name/$path"
        case $path in
        *.safetensors | *.gguf | *.bin | tokenizer.json)
            kind=lfs hash=$(sha256sum <"$root/$name/$path" | cut -c1-64) ;;
        *) kind=git hash=$({ printf 'blob %d\0' "$bytes"; cat "$root/$name/$path"; } | sha1sum | cut -c1-40) ;;
        esac
        printf '%s\t%s\t%s\t%s\n' "$path" "$bytes" "$kind" "$hash" >>"$root/$name/manifest"
    done
}
model m config.json=700 tokenizer.json=90000 vocab.txt=0 model-00001-of-00002.safetensors=3000000 \
    model-00002-of-00002.safetensors=1000000 model.safetensors.index.json=500 1_Pooling/config.json=200 README.md LICENSE.txt \
    pytorch_model.bin=50000 onnx/model.onnx=4000 consolidated.safetensors=9000 .gitattributes 'odd name+%41é.txt=10'
model tiny config.json model.safetensors=200000
model onlybin config.json pytorch_model.bin training_args.bin
model bare config.json README.md
model gguf1 README.md model-Q8_0.gguf=5000
model gguf3 README.md q/model-Q8_0.gguf=5000 q/model-Q4_0.gguf=3000 model-F16.gguf=9000

"$build/hub_server" "$root" "$log" >"$dir/ports" &
server=$!
trap 'kill $server 2>/dev/null; rm -rf "$dir"' EXIT
for _ in $(seq 100); do [ -s "$dir/ports" ] && break; sleep 0.05; done
read -r port _ <"$dir/ports"
export HF_ENDPOINT=http://127.0.0.1:$port
cd "$work" || exit 1
pull() { "$gyeol" model pull "$@"; }
requests() { grep -cE "$1" "$log"; }
same() { # NAME DIR MODEL FILE...: each file of the model is in DIR, byte for byte, and no part of one
    local name=$1 at=$2 model=$3 f bad=''
    shift 3
    for f in "$@"; do cmp -s "$at/$f" "$root/$model/$f" || bad+=" $f"; done
    [ -z "$(find "$at" -name '.*')" ] || bad+=" $(find "$at" -name '.*' | tr '\n' ' ')"
    [ -z "$bad" ] && ok "$name" || not_ok "$name" "not so:$bad"
}
read -ra chosen <<<'config.json tokenizer.json vocab.txt model-00001-of-00002.safetensors model-00002-of-00002.safetensors model.safetensors.index.json 1_Pooling/config.json README.md LICENSE.txt'

# ---- a hub as it should be ----
out=$(pull normal/m 2>&1)
is "pull exits 0" "$?" 0
same "what gyeol reads is in ./NAME" m m "${chosen[@]}"
is "... and nothing else" "$(find m -type f | wc -l)" "${#chosen[@]}"
like "... and it says so" "$out" "normal/m at 001122334455 is in m: 9 files, 4.09 MB, of which 4.09 MB were fetched now"
: >"$log"
out=$(pull normal/m --json)
is "again: all present, none fetched" "$(jq -c '[.fetched, .bytes, ([.files[].state] | unique)]' <<<"$out")" '[0,4092000,["present"]]'
is "... no file is asked for" "$(requests resolve)" 0
is "--json names commit and hashes" "$(jq -r '.commit, (.files[] | select(.path == "config.json") | .git_sha1), (.files[] | select(.path == "tokenizer.json") | .sha256)' <<<"$out")" \
    "00112233445566778899aabbccddeeff00112233
$(awk -F'\t' '$1 == "config.json" { print $4 }' "$root/m/manifest")
$(sha256sum <m/tokenizer.json | cut -c1-64)"
printf x | dd of=m/config.json bs=1 seek=100 conv=notrunc 2>/dev/null
refused "a file that differs is not overwritten" 1 'm/config.json is there already and differs.*--replace' pull normal/m
is "... and stays" "$(head -c 101 m/config.json | tail -c 1)" x
is "--replace fetches that one alone" "$(pull normal/m --replace --json | jq -c '[.files[] | select(.state == "fetched") | .path]')" '["config.json"]'
same "... and now it is the hub's" m m "${chosen[@]}"
pull normal/m --revision refs/pr/1 --out other >/dev/null && ok "a revision with slashes" || not_ok "a revision with slashes"
pull normal/m --include '*' --out all >/dev/null
is "--include '*' fetches all, odd names too" "$(cd all && find . -type f -exec sha256sum {} + | sort)" "$(cd "$root/m" && find . -type f ! -name manifest -exec sha256sum {} + | sort)"
pull normal/m --include '*.onnx' --include 1_Pooling/config.json --out few >/dev/null
is "patterns: a name in any folder, a path" "$(cd few && find . -type f | sort | tr '\n' ' ')" "./1_Pooling/config.json ./onnx/model.onnx "
refused "a pattern that matches nothing" 1 'none of 14 files matches --include \*\.pt' pull normal/m --include '*.pt' --out none
[ ! -e none ] && ok "... makes no directory" || not_ok "... makes no directory"

# ---- what there is to choose ----
refused "weights only as .bin" 1 'only as pytorch_model.bin.*safetensors' pull normal/onlybin
refused "no weights" 1 'holds no weights' pull normal/bare
pull normal/gguf1 >/dev/null && [ -s gguf1/model-Q8_0.gguf ] && ok "the one GGUF file" || not_ok "the one GGUF file"
refused "several GGUF files" 1 'holds 3 GGUF files.*--include' pull normal/gguf3
pull normal/gguf3 --include '*Q4_0.gguf' >/dev/null
is "one of them" "$(find gguf3 -type f)" gguf3/q/model-Q4_0.gguf

# ---- access ----
refused "a private model without a token" 1 'private or gated; if so, set HF_TOKEN' pull token/m --out private
refused "with a wrong one" 1 'this HF_TOKEN may not read it' env HF_TOKEN=hf_other "$gyeol" model pull token/m --out private
HF_TOKEN=hf_secret pull token/m --out private >/dev/null && ok "with HF_TOKEN" || not_ok "with HF_TOKEN"
HUGGING_FACE_HUB_TOKEN=hf_secret pull token/m --out private2 >/dev/null && ok "with HUGGING_FACE_HUB_TOKEN" || not_ok "with HUGGING_FACE_HUB_TOKEN"
HF_TOKEN=hf_secret pull renamed/tiny --out renamed >/dev/null
same "a model that moved, on the same hub with the token" renamed tiny config.json model.safetensors
refused "a gated model" 1 'is gated: accept its terms at http' pull gated/m
refused "a token of two lines" 2 'access token' env HF_TOKEN=$'hf\nX: y' "$gyeol" model pull normal/m
refused "no such model" 1 'no model normal/none' pull normal/none
refused "no such revision" 1 'no revision v9' pull normal/m --revision v9
: >"$log"
GYEOL_LOG=debug HF_TOKEN=hf_secret pull cdn/m --out cdn >"$dir/out" 2>&1 && ok "redirected to another port" || not_ok "redirected to another port" "$(cat "$dir/out")"
same "... the files are whole" cdn m "${chosen[@]}"
is "... which never sees the token" "$(requests '^cdn.*token=yes'), $(requests '^cdn.*token=no')" "0, 3"
is "... and every request to the hub has it" "$(requests '^hub.*token=no')" 0
is "... and the log does not" "$(grep -c hf_secret "$dir/out")" 0
is "... nor a signed address" "$(grep -c Amz "$dir/out")" 0

# ---- a bad line ----
: >"$log"
is "a connection cut twice" "$(pull cut/tiny --out cut --json | jq -c '[.fetched, (.files[].state)]')" '[200300,"fetched","resumed"]'
same "... the file is whole" cut tiny config.json model.safetensors
is "... and was asked for from where it ended" "$(requests 'model.safetensors range=bytes=[0-9]+- if-range="[0-9a-f]+" ')" 2
pull norange/tiny --out norange >/dev/null
same "a server that ignores Range" norange tiny config.json model.safetensors
: >"$log"
pull cdncut/tiny --out cdncut >/dev/null
same "a cut behind a redirect" cdncut tiny config.json model.safetensors
is "... If-Range has the ETag of there" "$(requests '^cdn.*if-range="[0-9a-f]{20}-behind"')" 1
refused "a server that always ends half-way" 1 'transfer closed with 100000 bytes remaining to read, after 5 attempts' pull stuck/tiny --out stuck
pull chunked/tiny --out chunked >/dev/null
same "an answer without a length" chunked tiny config.json model.safetensors
pull nohash/tiny --out nohash >/dev/null
same "a hub whose list has no hashes: HEAD tells" nohash tiny config.json model.safetensors
pull busy/tiny --out busy >/dev/null
same "429 with Retry-After, then an answer" busy tiny config.json model.safetensors
refused "a server that asks for an hour" 1 'answers 429, after 1 attempt$' pull patient/tiny
refused "a server that is down" 1 'the hub answers 500, after 5 attempts: the database is away' pull down/tiny
refused "a redirect in a circle" 1 'more than 10 redirects' pull loop/tiny --out loop
refused "nobody there" 1 'connect' pull normal/m --endpoint http://127.0.0.1:1 --out nobody
is "what failed before a byte came leaves no directory" "$(ls -d loop nobody patient none 2>/dev/null)" ""

# ---- wrong bytes ----
refused "a wrong hash" 1 'model.safetensors: what came has the hash [0-9a-f]{64}, the hub says [0-9a-f]{64}; it was deleted' pull badhash/tiny --out badhash
is "... leaves what was right and no part" "$(find badhash -type f)" badhash/config.json
refused "a size other than listed" 1 'the server sends 200000 bytes, want 200001' pull badsize/tiny --out badsize
refused "more bytes than listed" 1 'the server sends 301 bytes, want 300' pull longer/tiny --out longer

# ---- interrupted ----
: >"$log"
"$gyeol" model pull slow/m --include 'model-00001*' --out slow >"$dir/out" 2>&1 & pid=$!
for _ in $(seq 100); do [ "$(stat -c %s slow/.model-00001-of-00002.safetensors.part 2>/dev/null || echo 0)" -gt 300000 ] && break; sleep 0.05; done
refused "a second pull into the same directory" 1 'slow: another pull is at work there' pull slow/m --out slow
kill -INT $pid
wait $pid
is "an interrupted pull exits 1" "$?" 1
like "... and says how to go on" "$(cat "$dir/out")" '^gyeol: interrupted; what was fetched stays.*$'
part=$(stat -c %s slow/.model-00001-of-00002.safetensors.part)
[ "$part" -gt 300000 ] && [ "$part" -lt 3000000 ] && ok "... and keeps the part" || not_ok "... and keeps the part" "$part"
cp -r slow changed; cp -r slow torn
is "the next goes on from there" "$(pull normal/m --include 'model-00001*' --out slow --json | jq -c '[.fetched, .files[].state]')" "[$((3000000 - part)),\"resumed\"]"
same "... to the whole file" slow m model-00001-of-00002.safetensors
sed -i '2s/.*/"another"/' changed/.*.part.id
is "a part of another version is not joined" "$(pull normal/m --include 'model-00001*' --out changed --json | jq -c '[.fetched, .files[].state]')" '[3000000,"fetched"]'
dd if=/dev/zero of=torn/.model-00001-of-00002.safetensors.part bs=1000 count=9 conv=notrunc 2>/dev/null
is "a part that was torn by a crash is fetched anew" "$(pull normal/m --include 'model-00001*' --out torn --json | jq -c '.files[].state')" '"fetched"'
same "... and whole" torn m model-00001-of-00002.safetensors
"$gyeol" model pull slow/m --include 'model-00001*' --out killed >/dev/null 2>&1 & pid=$!
for _ in $(seq 100); do [ "$(stat -c %s killed/.*.part 2>/dev/null || echo 0)" -gt 100000 ] && break; sleep 0.05; done
kill -9 $pid
wait $pid 2>/dev/null
is "after kill -9 too" "$(pull normal/m --include 'model-00001*' --out killed --json | jq -c '.files[].state')" '"resumed"'
same "... to the whole file, and the lock is gone" killed m model-00001-of-00002.safetensors

# ---- a hub that means harm ----
for name in dotdot inner absolute git empty long; do
    refused "a listing with the name $name" 1 'the hub lists "' pull evil/$name --include '*' --out evil
done
for name in backslash control part lock part200; do
    refused "a chosen file with the name $name" 1 'the hub lists ".*it is not written' pull evil/$name --include '*' --out evil
done
refused "a name with a NUL" 1 'not JSON' pull evil/nul --include '*' --out evil
refused "a name that is there twice" 1 'lists "a" twice' pull evil/twice --include '*' --out evil
[ ! -e evil ] && [ ! -e ../escape.safetensors ] && ok "... and nothing is written" || not_ok "... and nothing is written"
refused "more files than 10000" 1 'more than 10000 files' pull many/tiny
pull full/tiny >/dev/null && ok "9992 files, ten pages" || not_ok "9992 files, ten pages"
refused "empty pages without end" 1 'a page of none that links to a next' pull endless/tiny
refused "a list that forgets its pages" 1 'names 14 files and lists only 3' pull forgets/m
mkdir -p linked outside; ln -s "$work/outside" linked/1_Pooling
refused "a folder that is a link" 1 'want a directory, not a link' pull normal/m --out linked
rm linked/1_Pooling; ln -s "$work/outside/config.json" linked/config.json
refused "a file that is a link" 1 'linked/config.json: is there.*symbolic link' pull normal/m --out linked
rm -rf linked; mkdir linked; ln -s "$work/outside/x" linked/.config.json.part; ln -s "$work/outside/y" linked/.vocab.txt.part.id
refused "a part that is a link" 1 'linked: opening .config.json.part' pull normal/m --include config.json --out linked
is "... nothing is written outside" "$(ls outside)" ''

# ---- TLS ----
if command -v openssl >/dev/null && openssl req -x509 -newkey rsa:2048 -nodes -keyout "$dir/key" -out "$dir/cert" -days 2 \
    -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 2>/dev/null; then
    openssl s_server -accept 127.0.0.1:0 -key "$dir/key" -cert "$dir/cert" -www >"$dir/tls" 2>&1 & tls=$!
    trap 'kill $server $tls 2>/dev/null; rm -rf "$dir"' EXIT
    for _ in $(seq 100); do grep -q ACCEPT "$dir/tls" && break; sleep 0.05; done
    refused "a certificate that nobody vouches for" 1 'SSL certificate problem: self-signed certificate$' pull a/b \
        --endpoint "https://127.0.0.1:$(sed -nE 's/^ACCEPT .*:([0-9]+)$/\1/p' "$dir/tls")"
    kill $tls
else
    skip "a certificate that nobody vouches for" "needs openssl"
fi

# ---- the disk ----
if [ "$(id -u)" -eq 0 ] && mkdir small && mount -t tmpfs -o size=1m tmpfs small 2>/dev/null; then
    trap 'kill $server 2>/dev/null; umount "$work/small"; rm -rf "$dir"' EXIT
    refused "no room on the disk" 1 'small: 4.09 MB are to be fetched, and the disk has 1.0[0-9] MB free' pull normal/m --out small
    is "... nothing is begun" "$(find small -type f | wc -l)" 0
else
    skip "no room on the disk" "needs root and mount"
fi

# ---- usage ----
refused "no name" 2 'want one OWNER/NAME' pull
refused "a name with a path" 2 'want OWNER/NAME' pull ../../etc
refused "a name of three parts" 2 'want OWNER/NAME' pull a/b/c
refused "an endpoint of another kind" 2 'endpoint ftp://x' pull a/b --endpoint ftp://x
refused "an endpoint with a password" 2 'user name or password' pull a/b --endpoint http://me:secret@127.0.0.1
refused "no such action" 2 'no action "push"' "$gyeol" model push
like "a token is not sent in clear text" "$(HF_TOKEN=hf_secret pull a/b --endpoint http://hub.invalid 2>&1)" 'HF_TOKEN is not sent to http://hub.invalid'
like "gyeol model --help lists it" "$("$gyeol" model --help)" 'pull +fetch a model from a hub'
finish
