#!/usr/bin/env bash
# gyeol bench kernels at a small width: that every table is compared and timed, and the shares are sound; gyeol bench and
# bench train at a small shape. How fast anything is, is not tested: this machine may be busy.
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

out=$("$gyeol" bench --shape tiny --type bf16 --rounds 1 --json) && ok "bench" || not_ok "bench"
is "a whole model runs" "$(jq '[.decode.tokens_s, .judgement.ms] | all(. > 0)' <<<"$out")" true

# One step again and again on the same tokens: the loss must fall, and to the same bits by any number of threads.
for what in "--shape tiny" "--shape tiny --full"; do
    # shellcheck disable=SC2086
    one=$("$gyeol" bench train $what --rounds 3 --threads 1 --json) && ok "bench train $what" || not_ok "bench train $what"
    # shellcheck disable=SC2086
    three=$("$gyeol" bench train $what --rounds 3 --threads 3 --json)
    is "$what: it learns" "$(jq '.loss[1] < .loss[0]' <<<"$one")" true
    is "$what: three threads, the same losses" "$(jq -c .loss <<<"$three")" "$(jq -c .loss <<<"$one")"
    is "$what: tokens per second are those of the time" \
        "$(jq '.step.tokens_s * .step.ms / 1000 / .tokens | . > 0.9 and . < 1.1' <<<"$one")" true
    is "$what: the parts make the forecast" \
        "$(jq '.memory | .weights_mb + .parameters_mb + .optimizer_mb + .tape_mb - .forecast_mb | . < 0.05 and . > -0.05' <<<"$one")" true
    if grep -q __asan_init "$gyeol"; then
        skip "$what: no more memory than forecast" "a sanitizer's memory counts too"
    else
        is "$what: no more memory than forecast, beside the program" \
            "$(jq '.memory | .peak_mb < .forecast_mb + 24 and .peak_mb > .forecast_mb' <<<"$one")" true
    fi
done
is "a LoRA step's operations are 4 per weight and token" \
    "$("$gyeol" bench train --shape tiny --rounds 1 --json | jq '.step.gflop_s * .step.ms * 1e6 / (4 * 73728 * 128) | . > 0.9 and . < 1.1')" true
is "a full step's are 6, the head's weights too" \
    "$("$gyeol" bench train --shape tiny --full --rounds 1 --json | jq '.step.gflop_s * .step.ms * 1e6 / (6 * (73728 + 512 * 64) * 4096) | . > 0.9 and . < 1.1')" true
like "a table for people" "$("$gyeol" bench train --shape tiny --rounds 1)" 'resident at most'
refused "no such shape" 2 'want hcx-1.5b, hcx-0.5b, mini or tiny' "$gyeol" bench train --shape huge
refused "all weights of a large model" 2 'want --shape mini or tiny' "$gyeol" bench train --full --shape hcx-0.5b
refused "no rounds" 2 'from 1 to' "$gyeol" bench train --rounds 0
refused "arguments of bench train" 2 'unexpected' "$gyeol" bench train now
finish
