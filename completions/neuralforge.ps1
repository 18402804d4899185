# Shell completion for neuralforge. Written by `neuralforge completion write`; do not edit.
Register-ArgumentCompleter -Native -CommandName neuralforge -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $tree = @{
        '' = [ordered]@{
            'extract-dataset' = 'Mine examples from a git repository'
            'create-dataset' = 'Make examples from files without history'
            'analyze-dataset' = 'Show what a data set holds and lacks'
            'clean-dataset' = 'Filter, deduplicate, balance and split a data set'
            'models' = 'List, fetch, show and remove base models'
            'train-tokenizer' = 'Train a byte-level BPE tokenizer on your own text'
            'train' = 'Train an adapter, judge it on later commits, pack it'
            'pretrain' = 'Train a small model of your own on text'
            'post-train' = 'Train on from a model: texts, a domain, or answers'
            'generate' = 'Continue a prompt with a model or an adapter'
            'export' = 'Write a model in a form that loads without neuralforge'
            'config' = 'Show, check and explain configurations'
            'monitor' = 'Follow a run from another terminal'
            'test-adapter' = 'Judge an adapter against its base'
            'benchmark' = 'Measure accuracy, latency, perplexity and memory'
            'ab-test' = 'Compare two adapters on the same examples'
            'adapters' = 'List, show, install, remove and compare adapters'
            'plugins' = 'List installed plugins and what is wrong with them'
            'doctor' = 'Report what this machine can do'
            'completion' = 'Print or install shell completion'
            '--version' = 'Show the version and exit'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'extract-dataset' = [ordered]@{
            '--git-repo' = 'The repository'
            '--output' = 'File to write'
            '-o' = 'File to write'
            '--languages' = 'Keep only these languages (java,python,js)'
            '--since' = 'Oldest commit, as git says it ("6 months ago")'
            '--until' = 'Newest commit, as git says it'
            '--paths' = 'Keep only files that match; may be repeated'
            '--max-examples' = 'At most this many examples'
            '--mid-line' = 'Also begin completions in the middle of a line'
            '--secrets' = 'Drop examples with secrets, redact the secrets, or keep both'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'create-dataset' = [ordered]@{
            '--source' = 'Folder, or what the kind of source takes'
            '--output' = 'File to write'
            '-o' = 'File to write'
            '--kind' = 'files, jsonl, hub, or a plugin''s name'
            '--pattern' = 'Keep only file names like this ("*.java")'
            '--languages' = 'Keep only these languages (java,python,js)'
            '--paths' = 'Keep only files that match; may be repeated'
            '--max-examples' = 'At most this many examples'
            '--skip-bad' = 'Count and skip bad lines instead of stopping'
            '--secrets' = 'Drop examples with secrets, redact the secrets, or keep both'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'analyze-dataset' = [ordered]@{
            '--tokens-per-second' = 'Training speed to expect, if it was measured'
            '--skip-bad' = 'Count and skip bad lines instead of stopping'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'clean-dataset' = [ordered]@{
            '--output' = 'File to write'
            '-o' = 'File to write'
            '--secrets' = 'Drop examples with secrets, redact the secrets, or keep both'
            '--near-duplicates' = 'Drop what is this similar; 0 keeps repeats'
            '--balance' = 'Cap each language at this many times the median language'
            '--split' = 'Write OUTPUT.train and OUTPUT.eval, the newest commits in the latter'
            '--held-out' = 'Share of examples for evaluation'
            '--max-held-out' = 'Most examples for evaluation'
            '--skip-bad' = 'Count and skip bad lines instead of stopping'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'models' = [ordered]@{
            'list' = 'List the known bases and which of them are on this machine'
            'pull' = 'Bring a base onto this machine, converting it if need be'
            'show' = 'Describe a base; fetches nothing'
            'remove' = 'Delete a base that neuralforge fetched; your own folders are never touched'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'models list' = [ordered]@{
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'models pull' = [ordered]@{
            '--offline' = 'Use only what is on this machine'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'models show' = [ordered]@{
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'models remove' = [ordered]@{
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'train-tokenizer' = [ordered]@{
            '--data' = 'Text file, JSONL file or folder; may be repeated'
            '--save' = 'Folder for the tokenizer'
            '--vocab-size' = 'Tokens in all'
            '--min-frequency' = 'Merge pairs that occur at least so often'
            '--skip-bad' = 'Count and skip bad lines instead of stopping'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'train' = [ordered]@{
            '--from-git' = 'Repository whose history is mined'
            '--dataset' = 'JSONL file of examples'
            '--source' = 'Folder, data file, or NAME:LOCATION for a source plugin; may be repeated'
            '--eval-file' = 'JSONL file to judge on, instead of the newest commits'
            '--languages' = 'Keep only these languages (java,python,js)'
            '--since' = 'Oldest commit, as git says it ("6 months ago")'
            '--until' = 'Newest commit, as git says it'
            '--paths' = 'Keep only files that match; may be repeated'
            '--pattern' = 'File names for folders ("*.java"); may be repeated'
            '--max-examples' = 'At most this many examples'
            '--max-length' = 'Tokens in one example; 0 lets the planner choose'
            '--skip-bad' = 'Count and skip bad lines of a data file instead of stopping'
            '--no-skip-bad' = 'Count and skip bad lines of a data file instead of stopping'
            '--base' = 'An alias, a hub id, a folder or a GGUF file'
            '--device' = 'auto, cpu, mps, cuda or cuda:N'
            '--name' = 'Name of the adapter'
            '--rank' = 'Rank of the update'
            '--alpha' = 'Scale; twice the rank if left out'
            '--dropout' = 'Dropout before the adapter'
            '--target-modules' = 'all-linear, or names such as q_proj,v_proj'
            '--layers' = 'auto, all, upper-half, or how many of the upper layers to adapt'
            '--rslora' = 'Scale by the square root of the rank (rsLoRA)'
            '--no-rslora' = 'Scale by the square root of the rank (rsLoRA)'
            '--dora' = 'Decompose weights (DoRA)'
            '--no-dora' = 'Decompose weights (DoRA)'
            '--learning-rate' = 'Peak learning rate'
            '--scheduler' = 'linear, cosine or constant after the warm-up'
            '--epochs' = 'Passes over the examples'
            '--batch-size' = 'Examples in one forward pass'
            '--gradient-accumulation' = 'Forward passes to one step'
            '--gradient-checkpointing' = 'Less memory, more time'
            '--no-gradient-checkpointing' = 'Less memory, more time'
            '--fp16' = '16-bit floats'
            '--bf16' = '16-bit brain floats'
            '--completion-only-loss' = 'Learn only what was typed, not the code around it'
            '--seed' = 'Seed of everything random'
            '--low-memory' = 'Less memory (small passes, recomputation, rank 8), more time'
            '--no-low-memory' = 'Less memory (small passes, recomputation, rank 8), more time'
            '--budget' = 'Time for the whole command (5m, 1h30m); examples and epochs are chosen to fit'
            '--config' = 'YAML file of settings'
            '--preset' = 'Shipped settings; see `neuralforge config presets`'
            '--output' = 'The .lora file to write'
            '--checkpoint-dir' = 'Folder of the run: checkpoints, log, report'
            '--resume' = 'Continue a run; the newest unfinished one if none is named'
            '--dry-run' = 'Check everything, predict time and memory, train nothing'
            '--interactive' = 'Ask for what is needed'
            '--force' = 'Succeed even when the adapter hurts'
            '--tensorboard' = 'Folder for TensorBoard files'
            '--wandb' = 'Report to Weights & Biases'
            '--log-level' = 'DEBUG, INFO, WARNING or ERROR'
            '--debug' = 'Keep tracebacks and log everything'
            '--profile-memory' = 'Record memory by phase and module'
            '--track-gradients' = 'Record gradient norms by module'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'pretrain' = [ordered]@{
            '--data' = 'Text file, JSONL file or folder; may be repeated'
            '--tokenizer' = 'Folder of the tokenizer (see train-tokenizer)'
            '--config' = 'YAML file of settings'
            '--preset' = 'A shape: tiny, small, medium, large or arbor-699m'
            '--growth' = 'Widen layers that are full while the model trains'
            '--no-growth' = 'Widen layers that are full while the model trains'
            '--epochs' = 'Passes over the corpus'
            '--max-steps' = 'At most so many steps'
            '--batch-size' = 'Windows in one forward pass'
            '--gradient-accumulation-steps' = 'Forward passes to one step'
            '--learning-rate' = 'Peak learning rate'
            '--max-seq-len' = 'Tokens of a window'
            '--gradient-checkpointing' = 'Less memory, more time'
            '--no-gradient-checkpointing' = 'Less memory, more time'
            '--seed' = 'Seed of everything random'
            '--eval-every' = 'Steps between two validations'
            '--prompt' = 'Text to continue at each of them; may be repeated'
            '--save-dir' = 'Folder for the model; ./arbor if not given'
            '--checkpoint-dir' = 'Run folder: corpus, checkpoints, log'
            '--resume' = 'Continue a run; latest takes the newest unfinished one'
            '--budget' = 'Time for the whole command (10m, 2h)'
            '--device' = 'auto, cpu, mps, cuda or cuda:N'
            '--tensorboard' = 'Write TensorBoard files'
            '--wandb' = 'Report to Weights & Biases'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'post-train' = [ordered]@{
            '--model' = 'A folder, an alias or a hub id'
            '--type' = 'fine_tune, domain_adapt or instruct'
            '--data' = 'Text, JSONL or folder; JSONL of answers to instruct; may be repeated'
            '--config' = 'YAML file of settings'
            '--preset' = 'fine-tune, instruct or domain-adapt'
            '--freeze-layers' = 'Layers that stay as they are (0,1,2)'
            '--lora' = 'Train an adapter instead of the model''s own weights'
            '--no-lora' = 'Train an adapter instead of the model''s own weights'
            '--rank' = 'Rank of the update'
            '--alpha' = 'Scale; twice the rank if left out'
            '--dropout' = 'Dropout before the adapter'
            '--target-modules' = 'all-linear, or names such as q_proj,v_proj'
            '--merge' = 'Save a whole model, or a .lora package'
            '--no-merge' = 'Save a whole model, or a .lora package'
            '--epochs' = 'Passes over the data'
            '--max-steps' = 'At most so many steps'
            '--batch-size' = 'Sequences in one forward pass'
            '--gradient-accumulation-steps' = 'Forward passes to one step'
            '--learning-rate' = 'Peak learning rate; chosen by type if left out'
            '--max-seq-len' = 'Tokens of a sequence'
            '--gradient-checkpointing' = 'Less memory, more time'
            '--no-gradient-checkpointing' = 'Less memory, more time'
            '--seed' = 'Seed of everything random'
            '--eval-every' = 'Steps between two validations'
            '--validation' = 'Share of the data that is kept out'
            '--prompt' = 'Text to continue at each validation; may be repeated'
            '--save-dir' = 'Folder for the model (with --no-merge, a .lora file)'
            '--checkpoint-dir' = 'Run folder: data, checkpoints, log'
            '--resume' = 'Continue a run; latest takes the newest unfinished one'
            '--budget' = 'Time for the whole command (10m, 2h)'
            '--device' = 'auto, cpu, mps, cuda or cuda:N'
            '--tensorboard' = 'Write TensorBoard files'
            '--wandb' = 'Report to Weights & Biases'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'generate' = [ordered]@{
            '--prompt' = 'Text to continue; standard input if left out'
            '--interactive' = 'Ask for one prompt after the other; Ctrl-D ends'
            '--model' = 'Model: an alias, a hub id, a folder or a GGUF file'
            '--adapter' = 'A .lora file, its folder or an installed name'
            '--max-tokens' = 'Write at most so many tokens'
            '--temperature' = 'Above 0 draws; 0 takes the likeliest token'
            '--top-p' = 'Draw among the likeliest tokens with this share; 1: all'
            '--top-k' = 'Draw among so many tokens; 0: all'
            '--repetition-penalty' = 'Above 1 repeats less'
            '--stop' = 'End before this text; may be repeated'
            '--seed' = 'Draw the same again'
            '--device' = 'cpu, mps, cuda or cuda:N'
            '--dtype' = 'fp32, bf16 or fp16; what is fast here if left out'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'export' = [ordered]@{
            '--model' = 'Folder of a model made by `pretrain`'
            '--output' = 'Folder for the exported model'
            '--as' = 'llama: a plain Llama checkpoint, its layers padded to one width'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'config' = [ordered]@{
            'show' = 'Show every setting, its value and where that came from'
            'validate' = 'Check a configuration file and name everything that is wrong with it'
            'presets' = 'List the shipped presets, or print one'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'config show' = [ordered]@{
            '--config' = 'YAML file'
            '--preset' = 'Shipped preset'
            '--set' = 'A value on top; may be repeated'
            '--changed' = 'Leave out what is at its default'
            '--yaml' = 'Print a YAML file that gives the same settings'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'config validate' = [ordered]@{
            '--pretrain' = 'Of `neuralforge pretrain` instead of train'
            '--post-train' = 'Of `neuralforge post-train` instead of train'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'config presets' = [ordered]@{
            '--pretrain' = 'Of `neuralforge pretrain` instead of train'
            '--post-train' = 'Of `neuralforge post-train` instead of train'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'monitor' = [ordered]@{
            '--once' = 'Show the present state and end'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'test-adapter' = [ordered]@{
            '--test-file' = 'JSONL examples to judge on'
            '--from-git' = 'Judge on commits of this repository later than the training'
            '--base' = 'Base model: an alias, a hub id, a folder or a GGUF file'
            '--device' = 'cpu, mps, cuda or cuda:N'
            '--dtype' = 'fp32, bf16 or fp16; what is fast here if left out'
            '--max-examples' = 'Judge on at most this many'
            '--generate-limit' = 'Write out completions of this many of them'
            '--seed' = 'Seed of draws and resampling'
            '--picture' = 'Write the figures as an SVG picture'
            '--report' = 'Write an HTML report'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'benchmark' = [ordered]@{
            '--adapter' = 'A .lora file, its unpacked folder, or an installed name'
            '--metrics' = 'Any of accuracy,latency,perplexity,memory'
            '--test-file' = 'JSONL examples to judge on'
            '--from-git' = 'Judge on commits of this repository later than the training'
            '--controls' = 'Also train as long on unrelated code, to show that this code was learned'
            '--base' = 'Base model: an alias, a hub id, a folder or a GGUF file'
            '--device' = 'cpu, mps, cuda or cuda:N'
            '--dtype' = 'fp32, bf16 or fp16; what is fast here if left out'
            '--max-examples' = 'Judge on at most this many'
            '--generate-limit' = 'Write out completions of this many of them'
            '--seed' = 'Seed of draws and resampling'
            '--picture' = 'Write the figures as an SVG picture'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'ab-test' = [ordered]@{
            '--adapter-a' = 'A .lora file, its unpacked folder, or an installed name'
            '--adapter-b' = 'A .lora file, its unpacked folder, or an installed name'
            '--test-data' = 'JSONL examples to compare on'
            '--metrics' = 'Any of accuracy,speed,memory'
            '--base' = 'Base model: an alias, a hub id, a folder or a GGUF file'
            '--device' = 'cpu, mps, cuda or cuda:N'
            '--dtype' = 'fp32, bf16 or fp16; what is fast here if left out'
            '--max-examples' = 'Judge on at most this many'
            '--generate-limit' = 'Write out completions of this many of them'
            '--seed' = 'Seed of draws and resampling'
            '--picture' = 'Write the figures as an SVG picture'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'adapters' = [ordered]@{
            'list' = 'List the installed adapters'
            'show' = 'Show what an adapter is, what it learned from, and its verdict'
            'install' = 'Check a package and install it under its name and version'
            'remove' = 'Remove an installed adapter'
            'diff' = 'Compare two adapters: what they say of themselves, and what they do to the base''s weights'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'adapters list' = [ordered]@{
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'adapters show' = [ordered]@{
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'adapters install' = [ordered]@{
            '--force' = 'Replace what is there'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'adapters remove' = [ordered]@{
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'adapters diff' = [ordered]@{
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'plugins' = [ordered]@{
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'doctor' = [ordered]@{
            '--quick' = 'Leave out the measurement of number formats'
            '--json' = 'Print one JSON document to stdout, all else to stderr'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'completion' = [ordered]@{
            'show' = 'Print the completion script of a shell'
            'install' = 'Put the completion script where the shell looks for it'
            'write' = 'Write the scripts of all shells into a folder, for packagers'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'completion show' = [ordered]@{
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'completion install' = [ordered]@{
            '--force' = 'Replace what is there'
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
        'completion write' = [ordered]@{
            '-h' = 'Show this message and exit'
            '--help' = 'Show this message and exit'
        }
    }
    $path = ''
    foreach ($element in ($commandAst.CommandElements | Select-Object -Skip 1)) {
        if ($element.Extent.EndOffset -ge $cursorPosition) { break }
        $next = "$path $element".Trim()
        if ($tree.ContainsKey($next)) { $path = $next }
    }
    $choices = $tree[$path]
    $choices.Keys | Where-Object { $_.StartsWith($wordToComplete) } | ForEach-Object {
        $kind = if ($_.StartsWith('-')) { 'ParameterName' } else { 'ParameterValue' }
        [System.Management.Automation.CompletionResult]::new($_, $_, $kind, $choices[$_])
    }
}
