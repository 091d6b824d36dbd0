# bash completion for gyeol(1): commands, actions, options and their values. Needs nothing but bash.
# shellcheck shell=bash

# Fills COMPREPLY with the words of $2 that begin with $1.
_gyeol_words() { mapfile -t COMPREPLY < <(compgen -W "$2" -- "$1"); }

# Fills COMPREPLY with directories and the files that match one of the patterns; without a pattern, all files.
_gyeol_files() { # CUR PATTERN...
    local cur=$1 pattern
    shift
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(
        if [ $# -eq 0 ]; then
            compgen -f -- "$cur"
        else
            compgen -d -- "$cur"
            for pattern in "$@"; do compgen -f -X "!$pattern" -- "$cur"; done
        fi | sort -u
    )
}
_gyeol_rows() { _gyeol_files "$1" '*.tsv' '*.csv' '*.jsonl' '*.ndjson'; }

# A list with commas: only its last part is completed, without those already there.
_gyeol_list() { # CUR WORDS
    local head='' last=$1 words='' w
    [[ $1 == *,* ]] && head=${1%,*}, last=${1##*,}
    for w in $2; do [[ ,$head == *",$w,"* ]] || words+=" $w"; done
    compopt -o nospace 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -P "$head" -W "$words" -- "$last")
}

_gyeol_options() { # COMMAND ACTION
    local judge='--model --mode --adapter --type --template --threads'
    local training='--epochs --steps --batch --accumulate --seq --lr --schedule --warmup --weight-decay --clip --optimizer-bits --seed'
    training+=' --eval-every --patience --metric --budget --reason-weight --word-dropout --class-weights --save-every --resume --stop-after'
    training+=' --checkpointing --compute --template --threads --json --help'
    case $1 in
    judge) echo "--mission --reason --json $judge --help" ;;
    import) echo '--db --keep-going --json --help' ;;
    batch) echo "--db --limit --user --workers --follow --rejudge --policy --weight --json $judge --help" ;;
    user) echo '--db --json --help' ;;
    eval) echo "--kind --rows --against --append --seed --errors --json $judge --help" ;;
    data)
        case $2 in
        check) echo '--allow --json --help' ;;
        split) echo '--out --train --dev --test --similarity --seed --json --help' ;;
        *) echo '--allow --out --train --dev --test --similarity --seed --json --help' ;;
        esac
        ;;
    model)
        case $2 in
        info) echo '--verify --json --help' ;;
        logits) echo '--ids --adapter --type --out --hidden --threads --json --help' ;;
        merge) echo '--adapter --type --no-tokenizer --json --help' ;;
        pack) echo '--type --no-tokenizer --json --help' ;;
        pull) echo '--revision --out --include --replace --endpoint --json --help' ;;
        tokenize) echo '--lines --special --ids-only --json --help' ;;
        *) echo '--help' ;;
        esac
        ;;
    train)
        case $2 in
        calibrate) echo "--data --budget --json $judge --help" ;;
        lora) echo "--model --data --dev --out --quant --rank --alpha --rslora --dropout --targets $training" ;;
        full) echo "--model --scratch --data --dev --out $training" ;;
        linear) echo '--data --dev --out --budget --epochs --lr --l2 --seed --threads --json --help' ;;
        *) echo '--help' ;;
        esac
        ;;
    bench)
        case $2 in
        kernels) echo '--threads --isa --width --rounds --json --help' ;;
        train) echo '--shape --full --threads --rounds --json --help' ;;
        *) echo '--shape --type --model --threads --rounds --baseline --json --help' ;;
        esac
        ;;
    esac
}

# True when the value of option $2 of command $1 has been completed (or is one that cannot be).
_gyeol_value() { # COMMAND OPTION CUR
    case $1:$2 in
    *:--mode) _gyeol_words "$3" 'linear one-pass per-axis' ;;
    model:--type) _gyeol_words "$3" 'f32 bf16 q8_0 q4_0 nf4' ;;
    *:--type) _gyeol_words "$3" 'f32 bf16 q8_0 q4_0' ;;
    *:--isa) _gyeol_words "$3" 'portable avx2 avx512' ;;
    *:--shape) _gyeol_words "$3" 'hcx-1.5b hcx-0.5b mini tiny' ;;
    *:--template) _gyeol_words "$3" 'hyperclovax llama3 llama2 mistral openchat deepseek-llm gemma chatml plain' ;;
    *:--adapter) _gyeol_files "$3" none ;;
    *:--model) _gyeol_files "$3" '*.gyl' '*.gguf' ;;
    eval:--against)
        _gyeol_files "$3" '*.gyl' '*.gguf'
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W 'linear builtin' -- "$3")
        ;;
    eval:--append) _gyeol_rows "$3" ;;
    *:--policy) _gyeol_words "$3" 'fixed weighted' ;;
    *:--db) _gyeol_files "$3" ;;
    *:--allow)
        _gyeol_list "$3" 'exact-within exact-across near-within near-across phrase person type-name email phone'
        ;;
    model:--out | model:--hidden) _gyeol_files "$3" ;;
    data:--out)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$3")
        ;;
    train:--out) _gyeol_files "$3" '*.gyl' ;;
    train:--data | train:--dev) _gyeol_files "$3" '*.tsv' '*.csv' '*.jsonl' '*.ndjson' '*.txt' ;;
    train:--scratch) _gyeol_files "$3" none ;;
    *:--quant) _gyeol_words "$3" 'nf4 q8_0 bf16 f32' ;;
    *:--targets) _gyeol_list "$3" 'q k v o gate up down all' ;;
    *:--schedule) _gyeol_words "$3" 'cosine linear constant' ;;
    *:--metric) _gyeol_words "$3" 'dev_loss direction_accuracy' ;;
    *:--optimizer-bits) _gyeol_words "$3" '32 8' ;;
    *:--compute) _gyeol_words "$3" 'bf16 f32' ;;
    *:--class-weights) _gyeol_words "$3" 'yes no' ;;
    *:--json | *:--help | *:--reason | *:--keep-going | *:--follow | *:--rejudge | *:--errors | *:--replace | *:--baseline | *:--full | \
        *:--verify | *:--no-tokenizer | *:--lines | *:--special | *:--ids-only | *:--rslora | *:--resume | \
        *:--checkpointing) return 1 ;;
    *:--*) return 0 ;; # a number, a name or a text
    *) return 1 ;;
    esac
}

_gyeol() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev='' command=${COMP_WORDS[1]} action='' arguments=0 i word
    COMPREPLY=()
    [ "$COMP_CWORD" -gt 0 ] && prev=${COMP_WORDS[COMP_CWORD - 1]}
    if [ "$COMP_CWORD" -le 1 ]; then
        _gyeol_words "$cur" 'judge import batch user eval data train model bench --help --version'
        return
    fi
    # bash gives --mode=li as three words: --mode = li
    if [ "$cur" = = ]; then
        cur=
    elif [ "$prev" = = ] && [ "$COMP_CWORD" -gt 2 ]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for ((i = 2; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
        --json | --help | --reason | --keep-going | --follow | --rejudge | --errors | --replace | --baseline | --full | --verify | --no-tokenizer | \
            --lines | --special | --ids-only | --rslora | --resume | --checkpointing) ;;
        --*)
            [ "${COMP_WORDS[i + 1]}" = = ] && i=$((i + 1))
            i=$((i + 1))
            ;;
        *)
            [ -n "$action" ] || action=$word
            arguments=$((arguments + 1))
            ;;
        esac
    done
    _gyeol_value "$command" "$prev" "$cur" && return
    if [[ $cur == -* ]]; then
        _gyeol_words "$cur" "$(_gyeol_options "$command" "$action")"
        return
    fi
    case $command in
    import) _gyeol_rows "$cur" ;;
    user) [ "$arguments" -gt 0 ] || _gyeol_words "$cur" 'list show history freeze unfreeze export erase' ;;
    eval) [ "$arguments" -gt 0 ] || _gyeol_rows "$cur" ;;
    train) [ "$arguments" -gt 0 ] || _gyeol_words "$cur" 'lora full linear calibrate' ;;
    bench) [ "$arguments" -gt 0 ] || _gyeol_words "$cur" 'kernels train' ;;
    model)
        if [ "$arguments" -eq 0 ]; then
            _gyeol_words "$cur" 'info logits merge pack pull tokenize'
        elif [ "$action" != pull ]; then
            _gyeol_files "$cur" '*.gguf' '*.gyl'
        fi
        ;;
    data)
        if [ "$arguments" -eq 0 ]; then
            _gyeol_words "$cur" 'check split'
        elif [ "$action" = check ] || [ "$arguments" -eq 1 ]; then
            _gyeol_rows "$cur"
        fi
        ;;
    esac
}
complete -F _gyeol gyeol
