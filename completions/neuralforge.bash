# Shell completion for neuralforge. Written by `neuralforge completion write`; do not edit.
_neuralforge() {
    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"
    local path=top word children= flags= valued= current_is=word IFS=$' \t\n'
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$path" in
            top) case "$word" in extract-dataset|create-dataset|analyze-dataset|clean-dataset|models|train-tokenizer|train|pretrain|post-train|generate|export|config|monitor|test-adapter|benchmark|ab-test|adapters|plugins|doctor|completion) path="$word" ;; esac ;;
            models|config|adapters|completion) case "$word" in -*) ;; *) path="$path $word" ;; esac ;;
        esac
    done
    case "$path" in
        'top') children="extract-dataset create-dataset analyze-dataset clean-dataset models train-tokenizer train pretrain post-train generate export config monitor test-adapter benchmark ab-test adapters plugins doctor completion" valued=""
            flags="--version -h --help" ;;
        'extract-dataset') children="" valued="--git-repo --output -o --languages --since --until --paths --max-examples --secrets"
            flags="--git-repo --output -o --languages --since --until --paths --max-examples --mid-line --secrets --json -h --help" ;;
        'create-dataset') children="" valued="--source --output -o --kind --pattern --languages --paths --max-examples --secrets"
            flags="--source --output -o --kind --pattern --languages --paths --max-examples --skip-bad --secrets --json -h --help" ;;
        'analyze-dataset') children="" valued="--tokens-per-second"
            flags="--tokens-per-second --skip-bad --json -h --help" ;;
        'clean-dataset') children="" valued="--output -o --secrets --near-duplicates --balance --held-out --max-held-out"
            flags="--output -o --secrets --near-duplicates --balance --split --held-out --max-held-out --skip-bad --json -h --help" ;;
        'models') children="list pull show remove" valued=""
            flags="-h --help" ;;
        'models list') children="" valued=""
            flags="--json -h --help" ;;
        'models pull') children="" valued=""
            flags="--offline --json -h --help" ;;
        'models show') children="" valued=""
            flags="--json -h --help" ;;
        'models remove') children="" valued=""
            flags="--json -h --help" ;;
        'train-tokenizer') children="" valued="--data --save --vocab-size --min-frequency"
            flags="--data --save --vocab-size --min-frequency --skip-bad --json -h --help" ;;
        'train') children="" valued="--from-git --dataset --source --eval-file --languages --since --until --paths --pattern --max-examples --max-length --base --device --name --rank --alpha --dropout --target-modules --layers --learning-rate --scheduler --epochs --batch-size --gradient-accumulation --seed --budget --config --preset --output --checkpoint-dir --resume --tensorboard --log-level"
            flags="--from-git --dataset --source --eval-file --languages --since --until --paths --pattern --max-examples --max-length --skip-bad --no-skip-bad --base --device --name --rank --alpha --dropout --target-modules --layers --rslora --no-rslora --dora --no-dora --learning-rate --scheduler --epochs --batch-size --gradient-accumulation --gradient-checkpointing --no-gradient-checkpointing --fp16 --bf16 --completion-only-loss --seed --low-memory --no-low-memory --budget --config --preset --output --checkpoint-dir --resume --dry-run --interactive --force --tensorboard --wandb --log-level --debug --profile-memory --track-gradients --json -h --help" ;;
        'pretrain') children="" valued="--data --tokenizer --config --preset --epochs --max-steps --batch-size --gradient-accumulation-steps --learning-rate --max-seq-len --seed --eval-every --prompt --save-dir --checkpoint-dir --resume --budget --device --tensorboard"
            flags="--data --tokenizer --config --preset --growth --no-growth --epochs --max-steps --batch-size --gradient-accumulation-steps --learning-rate --max-seq-len --gradient-checkpointing --no-gradient-checkpointing --seed --eval-every --prompt --save-dir --checkpoint-dir --resume --budget --device --tensorboard --wandb --json -h --help" ;;
        'post-train') children="" valued="--model --type --data --config --preset --freeze-layers --rank --alpha --dropout --target-modules --epochs --max-steps --batch-size --gradient-accumulation-steps --learning-rate --max-seq-len --seed --eval-every --validation --prompt --save-dir --checkpoint-dir --resume --budget --device --tensorboard"
            flags="--model --type --data --config --preset --freeze-layers --lora --no-lora --rank --alpha --dropout --target-modules --merge --no-merge --epochs --max-steps --batch-size --gradient-accumulation-steps --learning-rate --max-seq-len --gradient-checkpointing --no-gradient-checkpointing --seed --eval-every --validation --prompt --save-dir --checkpoint-dir --resume --budget --device --tensorboard --wandb --json -h --help" ;;
        'generate') children="" valued="--prompt --model --adapter --max-tokens --temperature --top-p --top-k --repetition-penalty --stop --seed --device --dtype"
            flags="--prompt --interactive --model --adapter --max-tokens --temperature --top-p --top-k --repetition-penalty --stop --seed --device --dtype --json -h --help" ;;
        'export') children="" valued="--model --output --as"
            flags="--model --output --as --json -h --help" ;;
        'config') children="show validate presets" valued=""
            flags="-h --help" ;;
        'config show') children="" valued="--config --preset --set"
            flags="--config --preset --set --changed --yaml --json -h --help" ;;
        'config validate') children="" valued=""
            flags="--pretrain --post-train --json -h --help" ;;
        'config presets') children="" valued=""
            flags="--pretrain --post-train --json -h --help" ;;
        'monitor') children="" valued=""
            flags="--once --json -h --help" ;;
        'test-adapter') children="" valued="--test-file --from-git --base --device --dtype --max-examples --generate-limit --seed --picture --report"
            flags="--test-file --from-git --base --device --dtype --max-examples --generate-limit --seed --picture --report --json -h --help" ;;
        'benchmark') children="" valued="--adapter --metrics --test-file --from-git --base --device --dtype --max-examples --generate-limit --seed --picture"
            flags="--adapter --metrics --test-file --from-git --controls --base --device --dtype --max-examples --generate-limit --seed --picture --json -h --help" ;;
        'ab-test') children="" valued="--adapter-a --adapter-b --test-data --metrics --base --device --dtype --max-examples --generate-limit --seed --picture"
            flags="--adapter-a --adapter-b --test-data --metrics --base --device --dtype --max-examples --generate-limit --seed --picture --json -h --help" ;;
        'adapters') children="list show install remove diff" valued=""
            flags="-h --help" ;;
        'adapters list') children="" valued=""
            flags="--json -h --help" ;;
        'adapters show') children="" valued=""
            flags="--json -h --help" ;;
        'adapters install') children="" valued=""
            flags="--force --json -h --help" ;;
        'adapters remove') children="" valued=""
            flags="--json -h --help" ;;
        'adapters diff') children="" valued=""
            flags="--json -h --help" ;;
        'plugins') children="" valued=""
            flags="--json -h --help" ;;
        'doctor') children="" valued=""
            flags="--quick --json -h --help" ;;
        'completion') children="show install write" valued=""
            flags="-h --help" ;;
        'completion show') children="" valued=""
            flags="-h --help" ;;
        'completion install') children="" valued=""
            flags="--force -h --help" ;;
        'completion write') children="" valued=""
            flags="-h --help" ;;
    esac
    case " $valued " in *" $previous "*) children= current_is=value ;; *) current_is=word ;; esac
    if [[ $current_is == word && $current == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$current"))
    elif [[ $current_is == word && -n $children ]]; then
        COMPREPLY=($(compgen -W "$children" -- "$current"))
    else
        IFS=$'\n'
        COMPREPLY=($(compgen -f -- "$current"))
        compopt -o filenames 2>/dev/null
    fi
}
complete -F _neuralforge neuralforge
