import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { main, runCli } from '../support/cli.js'
import { range, smallCache, steps, writeRows } from '../support/data.js'
import { npz } from '../../src/index.js'
import { tempDir } from '../support/temp.js'

const has = (shell: string): boolean => spawnSync(shell, ['-c', 'exit 0']).status === 0
let dir: string

beforeAll(async () => {
  dir = tempDir()
  writeRows(join(dir, 'a.npz'), range(0, 4), 16)
  writeFileSync(join(dir, 'tensorcache.yaml'), 'cache: { dir: cache, minFree: 0 }\ndatasets: { train: { source: { type: npz, path: a.npz } }, "train set": { source: { type: npz, path: a.npz } }, val: { source: { type: npz, path: a.npz } } }')
  const cache = await smallCache(join(dir, 'cache'))
  const source = await npz(join(dir, 'a.npz'))
  await (await cache.dataset(source, steps, { name: 'built', namespace: 'tensors/patterns' })).close()
  await cache.put('k', 1, { namespace: 'tokens/cycle_1' })
  await cache.close()
  source.close()
  mkdirSync(join(dir, 'bin'))
  // As npm makes one that can be executed.
  writeFileSync(join(dir, 'bin/tensorcache'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`, { mode: 0o755 })
})

const words = (...given: string[]): { status: number | null; found: string[] } => {
  const { status, stdout, stderr } = runCli(dir, ['__complete', ...given])
  expect(stderr).toBe('')
  return { status, found: stdout.split('\n').filter((line) => line !== '') }
}

describe('candidates', () => {
  test.each<[string[], string[]]>([
    [['bu'], ['build']],
    [['build', ''], ['train', 'train set', 'val']],
    [['build', 'train', ''], ['train set', 'val']],
    [['build', 'v'], ['val']],
    [['explain', 'tra'], ['train', 'train set']],
    [['explain', 'train', ''], []],
    [['info', ''], ['built']],
    [['ls', ''], ['tensors', 'tensors/patterns', 'tokens', 'tokens/cycle_1']],
    [['prune', '--namespace', 'tok'], ['tokens', 'tokens/cycle_1']],
    [['prune', '--max-size', ''], []],
    [['prune', '--namespace=tok'], ['--namespace=tokens', '--namespace=tokens/cycle_1']],
    [['build', '--device', ''], ['auto', 'cpu', 'webgpu']],
    [['ls', '--format', 'j'], ['json']],
    [['ls', '--format', '=', 'j'], ['json']],
    [['ls', '--format', '='], ['text', 'json']],
    [['ls', '--fo'], ['--format']],
    [['ls', '--format', 'json', '--fo'], []],
    [['ls', '--format', '=', 'json', 'ten'], ['tensors', 'tensors/patterns']],
    [['build', '--set', 'a=b', '--se'], ['--set']],
    [['completion', ''], ['bash', 'zsh', 'fish']],
    [['nothing', ''], []],
  ])('%j', (given, expected) => {
    expect(words(...given)).toEqual({ status: 0, found: expected })
  })

  test('files are left to the shell', () => {
    for (const given of [['inspect', ''], ['build', '--config', 't'], ['ls', '--cache-dir', '=', ''], ['export', 'built', '--output=']]) expect(words(...given)).toEqual({ status: 3, found: [] })
  })

  test('where there is no cache and no configuration there is nothing, and no error', () => {
    const empty = tempDir()
    for (const given of [['build', ''], ['info', ''], ['ls', ''], ['build', '--config', 'none.yaml', '']]) expect(runCli(empty, ['__complete', ...given], { XDG_CACHE_HOME: empty })).toMatchObject({ status: 0, stdout: '', stderr: '' })
    // Options that stand before count.
    expect(runCli(empty, ['__complete', 'ls', '--cache-dir', join(dir, 'cache'), 'tok']).stdout).toBe('tokens\ntokens/cycle_1\n')
  })

  test('all verbs, and the ways to help', () => {
    const { found } = words('')
    expect(found).toEqual(expect.arrayContaining(['build', 'completion', 'help', '--version']))
    expect(found).not.toContain('__complete')
  })
})

describe.skipIf(!has('bash'))('bash', () => {
  const script = (): string => runCli(dir, ['completion', 'bash']).stdout
  /** What bash offers when TAB is pressed after these words. */
  const tab = (...line: string[]): string[] => {
    const quoted = ['tensorcache', ...line].map((word) => `'${word}'`).join(' ')
    const program = `${script()}\nCOMP_WORDS=(${quoted}); COMP_CWORD=${line.length}\n_tensorcache tensorcache '${line.at(-1)}' ''\nprintf '%s\\n' "\${COMPREPLY[@]}"`
    const { status, stdout, stderr } = spawnSync('bash', ['--norc', '-c', program], { cwd: dir, encoding: 'utf8', env: { ...process.env, TENSORCACHE_DIR: '', PATH: `${join(dir, 'bin')}:${process.env.PATH}` } })
    expect([status, stderr]).toEqual([0, ''])
    return stdout.split('\n').filter((word) => word !== '')
  }

  test('knows the function', () => {
    const { stdout, status } = spawnSync('bash', ['--norc', '-c', `${script()}\ncomplete -p tensorcache`], { encoding: 'utf8' })
    expect([status, stdout]).toEqual([0, 'complete -F _tensorcache tensorcache\n'])
  })

  test('offers verbs, options, values, datasets and namespaces', () => {
    expect(tab('exp')).toEqual(['explain', 'export'])
    expect(tab('build', '--dr')).toEqual(['--dry-run'])
    expect(tab('build', '--device', '=', 'w')).toEqual(['webgpu'])
    // A name with a space stays one word.
    expect(tab('build', 'train')).toEqual(['train', 'train\\ set'])
    expect(tab('clear', '--namespace', 'tens')).toEqual(['tensors', 'tensors/patterns'])
    expect(tab('inspect', '')).toEqual([])
  })
})

test.skipIf(!has('zsh'))('zsh reads its script', () => {
  expect(spawnSync('zsh', ['-n', '-c', runCli(dir, ['completion', 'zsh']).stdout], { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' })
})

test.skipIf(!has('fish'))('fish reads its script', () => {
  expect(spawnSync('fish', ['--no-execute', '-c', runCli(dir, ['completion', 'fish']).stdout], { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' })
})

test('other shells are refused by name', () => {
  expect(runCli(dir, ['completion', 'powershell'])).toMatchObject({ status: 2, stderr: 'tensorcache: completion: the shell must be one of bash, zsh, fish, not "powershell"\n' })
})
