import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { native } from '../../src/native/load.js'

const GiB = 2 ** 30
const { MappedFile } = native()
let dir: string
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'tensorcache-mapping-')) })
afterAll(() => rmSync(dir, { recursive: true, force: true }))

function file(name: string, content: Uint8Array): string {
  const path = join(dir, name)
  writeFileSync(path, content)
  return path
}

function sparse(name: string, bytes: number): string {
  const path = join(dir, name)
  const fd = openSync(path, 'w')
  ftruncateSync(fd, bytes)
  closeSync(fd)
  return path
}

const caught = (run: () => unknown): { code?: string; message: string } => {
  try { run() } catch (error) { return error as Error & { code?: string } }
  throw new Error('nothing was thrown')
}

describe('reading', () => {
  test.each([1, 4095, 4096, 4097, 100_000])('a file of %i bytes reads back, at any offset', (size) => {
    const content = randomBytes(size)
    const mapped = new MappedFile(file(`read-${size}`, content))
    expect(mapped.size).toBe(size)
    expect(Buffer.from(mapped.view(0, size)).equals(content)).toBe(true)
    for (const offset of [0, 1, size >> 1, size - 1, size]) {
      expect(Buffer.from(mapped.view(offset, size - offset)).equals(content.subarray(offset))).toBe(true)
    }
  })

  test('an empty file is an empty mapping', async () => {
    const mapped = new MappedFile(file('empty', new Uint8Array(0)))
    expect(mapped.size).toBe(0)
    expect(mapped.view(0, 0).byteLength).toBe(0)
    await mapped.populate(0, 0)
    mapped.drop(0, 0)
    mapped.advise(0, 0, 'sequential')
    expect(mapped.faulted).toBe(false)
    expect(caught(() => mapped.view(0, 1)).code).toBe('ERR_OUT_OF_RANGE')
  })

  test('the facts are those of node:fs, to the nanosecond', () => {
    const path = file('facts', randomBytes(10))
    const { stat } = new MappedFile(path)
    const expected = statSync(path, { bigint: true })
    expect(stat).toEqual({ size: 10, dev: expected.dev, ino: expected.ino, mtimeNs: expected.mtimeNs, ctimeNs: expected.ctimeNs })
  })

  test('restat sees what happened since', () => {
    const path = file('restat', randomBytes(10))
    const mapped = new MappedFile(path)
    writeFileSync(path, randomBytes(20))
    expect(mapped.restat().size).toBe(20)
    expect(mapped.stat.size).toBe(10)
  })

  test('64 GiB of file need no memory', async () => {
    const size = 64 * GiB
    const path = sparse('huge', size)
    const fd = openSync(path, 'r+')
    writeSync(fd, 'end', size - 3)
    closeSync(fd)
    const mapped = new MappedFile(path)
    expect(mapped.size).toBe(size)
    expect(Buffer.from(mapped.view(size - 3, 3)).toString()).toBe('end')
    expect(mapped.view(size - 4 * GiB, 4 * GiB).byteLength).toBe(4 * GiB)
    expect(caught(() => mapped.view(0, 4 * GiB + 1)).code).toBe('ERR_OUT_OF_RANGE')
    await mapped.populate(size - 5000, 5000)
    mapped.close()
  })

  test('streaming a file in windows with drop() keeps the process small', async () => {
    const size = GiB
    const mapped = new MappedFile(sparse('stream', size))
    const window = 16 << 20
    const before = process.memoryUsage.rss()
    let most = 0
    for (let offset = 0; offset < size; offset += window) {
      await mapped.populate(offset, window)
      const view = new Uint8Array(mapped.view(offset, window))
      for (let at = 0; at < window; at += 4096) if (view[at] !== 0) throw new Error(`byte ${offset + at} is ${view[at]}`)
      most = Math.max(most, process.memoryUsage.rss() - before)
      mapped.drop(offset, window)
    }
    expect(most).toBeGreaterThan(window / 2)
    expect(most).toBeLessThan(4 * window)
  })
})

describe('a write to a view', () => {
  test('stays in the process, and drop() takes it back', () => {
    const content = randomBytes(3 * 4096)
    const path = file('private', content)
    const mapped = new MappedFile(path)
    const view = new Uint8Array(mapped.view(0, content.length))
    const other = new Uint8Array(mapped.view(4096, 4096))
    view[4096] = content[4096]! ^ 255
    expect(other[0]).toBe(content[4096]! ^ 255)
    expect(readFileSync(path).equals(content)).toBe(true)
    // Only whole pages inside the range go.
    mapped.drop(4095, 4096)
    expect(view[4096]).toBe(content[4096]! ^ 255)
    mapped.drop(4095, 4097)
    expect(view[4096]).toBe(content[4096])
  })

  test('drop() up to the end of the file takes the last, partial page along', () => {
    const content = randomBytes(5000)
    const mapped = new MappedFile(file('tail', content))
    const view = new Uint8Array(mapped.view(0, 5000))
    view[4999]! ^= 1
    mapped.drop(4096, 903)
    expect(view[4999]).toBe(content[4999]! ^ 1)
    mapped.drop(4096, 904)
    expect(view[4999]).toBe(content[4999])
  })
})

describe('misuse and bad files', () => {
  test.each([
    ['a missing file', () => join(dir, 'absent'), 'ENOENT'],
    ['a folder', () => dir, 'EISDIR'],
    ['a file as a folder', () => join(file('plain', randomBytes(1)), 'x'), 'ENOTDIR'],
    ['a device', () => '/dev/zero', 'ENODEV'],
    ['a pipe', () => { const path = join(dir, 'pipe'); execFileSync('mkfifo', [path]); return path }, 'ENODEV'],
  ])('%s is refused', (_, path, code) => {
    const name = path()
    const error = caught(() => new MappedFile(name))
    expect(error.code).toBe(code)
    expect(error.message).toContain(name)
  })

  test('a path with NUL is refused', () => {
    expect(() => new MappedFile(`${file('nul', randomBytes(1))}\0.txt`)).toThrow(TypeError)
  })

  test.each([[-1, 1], [0, 11], [10, 1], [11, 0], [0.5, 1], [NaN, 1], [0, Infinity], [2 ** 53, 2 ** 53]])('the range %d +%d is refused', (offset, length) => {
    const mapped = new MappedFile(file('ten', randomBytes(10)))
    for (const run of [() => mapped.view(offset, length), () => mapped.populate(offset, length), () => mapped.drop(offset, length), () => mapped.advise(offset, length, 'random')]) {
      expect(caught(run).code).toBe('ERR_OUT_OF_RANGE')
    }
  })

  test('after close() calls throw, and views live on', () => {
    const content = randomBytes(10)
    const mapped = new MappedFile(file('closed', content))
    const view = mapped.view(2, 5)
    mapped.close()
    mapped.close()
    for (const run of [() => mapped.view(0, 1), () => mapped.populate(0, 1), () => mapped.drop(0, 1), () => mapped.advise(0, 1, 'random'), () => mapped.restat()]) {
      expect(caught(run).code).toBe('ERR_CLOSED')
    }
    expect(mapped.faulted).toBe(false)
    expect(Buffer.from(view).equals(content.subarray(2, 7))).toBe(true)
  })

  test('methods refuse objects that are not mappings', () => {
    const mapped = new MappedFile(file('receiver', randomBytes(10)))
    expect(() => Reflect.get(Object.getPrototypeOf(mapped) as object, 'size', {})).toThrow()
    expect(() => Object.getPrototypeOf(mapped).view.call({}, 0, 1)).toThrow()
  })
})

describe('a file truncated while it is mapped', () => {
  test('reads as zeros and is reported', async () => {
    const path = file('shrinks', new Uint8Array(1 << 20).fill(7))
    const mapped = new MappedFile(path)
    const view = new Uint8Array(mapped.view(0, 1 << 20))
    truncateSync(path, 5000)
    await expect(mapped.populate(0, 1 << 20)).rejects.toMatchObject({ code: 'EFAULT' })
    expect(mapped.faulted).toBe(false)
    expect([view[0], view[4999], view[5000], mapped.faulted]).toEqual([7, 7, 0, false])
    expect([view[8192], view[600_000], view[(1 << 20) - 1]]).toEqual([0, 0, 0])
    expect(view[4999]).toBe(7)
    expect(mapped.faulted).toBe(true)
    await expect(mapped.populate(0, 1 << 20)).rejects.toMatchObject({ code: 'EFAULT' })
  })

  test('on a native thread too', async () => {
    const path = file('shrinks-native', new Uint8Array(1 << 20).fill(7))
    const mapped = new MappedFile(path)
    truncateSync(path, 0)
    const zeros = await native().sha256(new Uint8Array(1 << 20))
    expect(await native().sha256(new Uint8Array(mapped.view(0, 1 << 20)))).toEqual(zeros)
    expect(mapped.faulted).toBe(true)
  })

  test('does not touch other mappings', () => {
    const paths = Array.from({ length: 200 }, (_, k) => file(`many-${k}`, new Uint8Array(16384).fill(k)))
    const mapped = paths.map((path) => new MappedFile(path))
    for (let k = 0; k < 200; k += 3) mapped[k]!.close()
    truncateSync(paths[100]!, 0)
    for (let k = 0; k < 200; k++) {
      if (k % 3 === 0) continue
      expect(new Uint8Array(mapped[k]!.view(12288, 1))[0]).toBe(k === 100 ? 0 : k)
      expect(mapped[k]!.faulted).toBe(k === 100)
    }
  })
})

describe('in a process of its own', () => {
  const child = fileURLToPath(new URL('./mapping.child.cjs', import.meta.url))
  const run = (name: string, ...args: string[]): ReturnType<typeof spawnSync> =>
    spawnSync(process.execPath, ['--expose-gc', child, name, ...args], { encoding: 'utf8' })

  test('views of one mapping, overlapping, created and collected by the thousand', () => {
    const path = file('views', new Uint8Array(1 << 20).fill(9))
    expect(run('views', path)).toMatchObject({ status: 0, stdout: 'unmapped\n' })
  })

  test('a worker that maps and ends leaves a working handler behind', () => {
    expect(run('worker', join(dir, 'worker'))).toMatchObject({ signal: 'SIGBUS', stdout: '9,0,true\n9,0,true\n' })
  })

  test('a bus error elsewhere still ends the process', () => {
    expect(run('signal', file('signal', new Uint8Array(10)))).toMatchObject({ signal: 'SIGBUS' })
  })

  test('tens of thousands of scattered faults do not use up the kernel\'s map entries', () => {
    const path = sparse('scattered', 2 * GiB)
    expect(run('scattered', path)).toMatchObject({ status: 0, stdout: 'true\n' })
  })
})
