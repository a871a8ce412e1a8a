import { table } from './format.js'
import type { Verb, VerbOption } from './verb.js'

export function generalHelp(verbs: readonly Verb[]): string {
  return [
    'Usage: tensorcache <verb> [options]', '',
    ...table(verbs.map(({ name, summary }) => [`  ${name}`, summary])), '',
    'tensorcache <verb> --help says more. Exit codes: 0 done, 1 damage or failure, 2 wrong use.',
  ].join('\n')
}

export function verbHelp(verb: Verb, common: Readonly<Record<string, VerbOption>>): string {
  const rows = Object.entries({ ...verb.options, ...common }).map(([name, { value, about }]) => [`  --${name}${value === undefined ? '' : ` ${value}`}`, about])
  return [`Usage: tensorcache ${verb.name} ${verb.usage}`.trimEnd(), '', verb.summary, '', 'Options:', ...table(rows), '', 'Example:', `  ${verb.example}`].join('\n')
}
