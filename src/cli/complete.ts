import { parseArgs } from 'node:util'
import type { Context, Verb, VerbOption } from './verb.js'

/** What the shell knows best. */
export const FILES = 'files'

/** What a command line that is being written may go on with. */
export interface Completion {
  readonly verb: Verb
  /** What is given already, leniently read. */
  readonly values: Context['values']
  /** Candidates for the last word, or files. */
  candidates(context: Context): Promise<readonly string[] | typeof FILES>
}

/**
 * `words` are those after the program's name, the last one the one at the cursor. What may stand in a place is read from what the help says of it: words between bars are choices, `NAME` is a namespace, `FILE` and `DIR` are files. Undefined
 * when no verb is there yet.
 */
export function completionOf(words: readonly string[], verbs: readonly Verb[], common: Readonly<Record<string, VerbOption>>): Completion | undefined {
  const verb = verbs.find(({ name }) => name === words[0])
  if (verb === undefined || words.length < 2) return undefined
  const options: Readonly<Record<string, VerbOption>> = { ...verb.options, ...common }
  const { given, partial, prefix } = joined(words.slice(1))
  const parsed = parseArgs({ args: [...given], options: Object.fromEntries(Object.entries(options).map(([name, { type, multiple }]) => [name, { type, multiple: multiple ?? false }])), allowPositionals: true, strict: false })
  const values = parsed.values as Context['values']
  const [, inline, begun = ''] = /^--([^=]+)=(.*)$/s.exec(partial) ?? []
  const before = given.at(-1)
  const option = inline ?? (before !== undefined && /^--[^=]+$/.test(before) && options[before.slice(2)]?.type === 'string' ? before.slice(2) : undefined)
  const candidates = async (context: Context): Promise<readonly string[] | typeof FILES> => {
    if (option !== undefined) {
      const found = await meant(options[option]?.value ?? '', context)
      return found === FILES ? FILES : found.filter((each) => each.startsWith(inline === undefined ? partial : begun)).map((each) => inline === undefined ? each : `${prefix}${each}`)
    }
    if (partial.startsWith('-')) return Object.entries(options).filter(([name, { multiple }]) => multiple === true || values[name] === undefined).map(([name]) => `--${name}`).filter((name) => name.startsWith(partial))
    const places = Array.from(verb.usage.matchAll(/[<[]([^>\]]+)[>\]]/g), ([, place]) => place!)
    const place = places[parsed.positionals.length] ?? (places.at(-1)?.endsWith('…') ? places.at(-1) : undefined)
    if (place === undefined) return []
    const found = await meant(place.replace('…', ''), context)
    return found === FILES ? FILES : found.filter((each) => each.startsWith(partial) && !parsed.positionals.includes(each))
  }
  return { verb, values, candidates }
}

/** Words as the program would get them: bash gives `--format=json` as three. `prefix` stands before what is completed, in the eyes of the shell. */
function joined(words: readonly string[]): { given: readonly string[]; partial: string; prefix: string } {
  const whole: string[] = []
  let split = false
  for (const word of words) {
    const last = whole.at(-1)
    split = last !== undefined && (word === '=' ? last.startsWith('--') : /^--[^=]+=$/.test(last))
    if (split) whole[whole.length - 1] += word
    else whole.push(word)
  }
  const partial = whole.pop()!
  return { given: whole, partial, prefix: split ? '' : partial.slice(0, partial.indexOf('=') + 1) }
}

async function meant(place: string, context: Context): Promise<readonly string[] | typeof FILES> {
  if (place === 'file' || place === 'FILE' || place === 'DIR') return FILES
  if (place.includes('|')) return place.replaceAll(/\[[^\]]*\]/g, '').split('|')
  if (place === 'dataset') return quietly(() => context.config().datasetNames)
  if (place === 'key or name') return quietly(async () => Array.from((await context.openCache({ readonly: true })).store.datasets(), ({ key, record }) => record.name === '' ? key.slice(0, 12) : record.name))
  if (place === 'namespace' || place === 'NAME') return quietly(async () => (await context.openCache({ readonly: true })).usage().flatMap(({ namespace }) => above(namespace)))
  return []
}

/** `a/b/c`, `a/b` and `a`. */
function above(namespace: string): string[] {
  const parts = namespace.split('/')
  return namespace === '' ? [] : parts.map((_, k) => parts.slice(0, k + 1).join('/'))
}

// Whoever presses a key wants no error: no configuration and no cache are nothing to choose from.
async function quietly(list: () => readonly string[] | Promise<readonly string[]>): Promise<readonly string[]> {
  try {
    return [...new Set(await list())].sort()
  } catch {
    return []
  }
}
