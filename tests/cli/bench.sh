#!/usr/bin/env bash
# gyeol bench kernels at a small width: that every table is compared and timed, and the shares are sound. How fast
# anything is, is not tested: this machine may be busy.
. "$(dirname "$0")/tap.sh"
out=$("$gyeol" bench kernels --width 256 --rounds 1 --threads 1 --json) && ok "bench kernels" || not_ok "bench kernels"
is "the portable table is always there" "$(jq -r '.limits[0].isa' <<<"$out")" portable
is "every limit is positive" "$(jq '[.read_gb_s, (.limits[] | .f32_gop_s, .bf16_gop_s, .int8_gop_s)] | all(. > 0)' <<<"$out")" true
is "every table has products of every type" \
    "$(jq -r '[.kernels[] | select(.kernel == "product" and .tokens == 1)] | group_by(.isa) | map([.[].of] | sort | join(" ")) | unique[]' <<<"$out")" \
    "bf16 f32 q4_0 q8_0"
is "every vector table has the products of training" \
    "$(jq -r '.limits[-1].isa as $last | [.kernels[] | select(.isa == $last and .tokens == 128) | .kernel + " " + .of] | sort | join(", ")' <<<"$out")" \
    "outer bf16, product nf4, turned bf16, turned nf4"
is "the same tables in limits and kernels" "$(jq -c '[.kernels[].isa] | unique' <<<"$out")" "$(jq -c '[.limits[].isa] | unique' <<<"$out")"
is "no product reads faster than memory" "$(jq '[.kernels[].of_read | select(. != null)] | all(. > 0 and . <= 1)' <<<"$out")" true
is "times are positive" "$(jq '[.kernels[].ms] | length > 30 and all(. > 0)' <<<"$out")" true
refused "a width that heads do not divide" 2 'multiple of 256' "$gyeol" bench kernels --width 300
refused "no such option" 2 'unknown option' "$gyeol" bench kernels --shape x
refused "no such table" 2 "widest table is" "$gyeol" bench kernels --isa abacus
refused "no threads" 2 'from 1 to' "$gyeol" bench kernels --threads 0
refused "arguments" 2 'unexpected' "$gyeol" bench kernels now
finish
