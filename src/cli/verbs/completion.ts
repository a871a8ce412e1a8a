import { UsageError, type Verb } from '../verb.js'

// Each asks the program itself, so that they never know less than it. Exit code 3 of `__complete` means files.
const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `_tensorcache() {
  local out line
  COMPREPLY=()
  out=$("$1" __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  if [ $? -eq 3 ]; then
    compopt -o default 2>/dev/null
    return
  fi
  while IFS= read -r line; do
    if [ -n "$line" ]; then COMPREPLY+=("$(printf '%q' "$line")"); fi
  done <<< "$out"
}
complete -F _tensorcache tensorcache`,
  zsh: `#compdef tensorcache
_tensorcache() {
  local out code
  local -a found
  out="$("\${words[1]}" __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)"
  code=$?
  if (( code == 3 )); then
    _files
  else
    found=("\${(@f)out}")
    found=(\${found:#})
    compadd -a found
  fi
}
if [ "\${funcstack[1]}" = _tensorcache ]; then _tensorcache "$@"; else compdef _tensorcache tensorcache; fi`,
  fish: `function __tensorcache_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found ($words[1] __complete $words[2..-1] 2>/dev/null)
  if test $status -eq 3
    __fish_complete_path (commandline -ct)
  else
    printf '%s\\n' $found
  end
end
complete -c tensorcache -f -a '(__tensorcache_complete)'`,
}

export const completion: Verb = {
  name: 'completion',
  summary: 'Prints a script that teaches a shell to complete verbs, options, their values, datasets and namespaces.',
  usage: '<bash|zsh|fish>',
  example: 'source <(tensorcache completion bash)',
  options: {},
  positionals: [1, 1],
  async run(context) {
    const [shell] = context.positionals as [string]
    const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell]! : undefined
    if (script === undefined) throw new UsageError(`completion: the shell must be one of ${Object.keys(SCRIPTS).join(', ')}, not "${shell}"`)
    context.print(context.json ? JSON.stringify({ shell, script }) : script)
    return 0
  },
}
