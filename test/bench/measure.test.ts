import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ask } from '../../bench/lib/ask.js'
import { inTurns, scaled, spread } from '../../bench/lib/measure.js'

describe('measuring', () => {
  test('median and percentiles lie between samples as NumPy puts them', () => {
    expect(spread([4, 1, 3, 2])).toMatchObject({ median: 2.5, samples: [4, 1, 3, 2] })
    expect(spread([4, 1, 3, 2]).p10).toBeCloseTo(1.3)
    expect(spread([4, 1, 3, 2]).p90).toBeCloseTo(3.7)
    expect(spread([7])).toMatchObject({ median: 7, p10: 7, p90: 7 })
    expect(scaled(spread([1, 3]), 2)).toEqual({ ...spread([2, 6]), p10: scaled(spread([1, 3]), 2).p10 })
  })

  test('contestants take turns, each first as often as last, and the first run of each does not count', async () => {
    const order: string[] = []
    const contestant = (name: string) => async (): Promise<number> => order.push(name)
    const results = await inTurns(2, { a: contestant('a'), b: contestant('b'), absent: undefined })
    expect(order.join('')).toBe('ababba')
    expect(results.a.samples).toEqual([3, 6])
    expect(results).not.toHaveProperty('absent')
  })
})

describe('asking a question in a process of its own', () => {
  let dir: string
  beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'tensorcache-ask-')) })
  afterAll(() => rmSync(dir, { recursive: true, force: true }))

  const script = (text: string): string => {
    const path = join(dir, `${Math.floor(performance.now() * 1000)}.cjs`)
    writeFileSync(path, text)
    return path
  }

  test('its reply comes back, whatever it leaves open', async () => {
    const path = script(`setInterval(() => {}, 1000); process.send({ about: process.argv[2], peers: [], findings: [] }, () => process.exit())`)
    expect(await ask(path, ['something'])).toEqual({ about: 'something', peers: [], findings: [] })
  })

  test('one that is killed, or ends, before it answers has failed', async () => {
    expect((await ask(script(`process.kill(process.pid, 'SIGKILL')`), [])).failed).toBe('its process ended with SIGKILL before it answered')
    expect((await ask(script(`process.exit(3)`), [])).failed).toBe('its process ended with exit status 3 before it answered')
  })
})
