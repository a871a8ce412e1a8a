import { randomBytes } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join, relative, resolve, sep } from 'node:path'
import type { RemoteTier } from './remote.js'

/** A remote tier in a folder that several machines have mounted, on a network file system too: a file per name, written beside and renamed. The folder must be there. */
export function folderTier(dir: string): RemoteTier {
  if (typeof dir !== 'string' || dir === '') throw new TypeError(`folderTier: dir must be a path, not ${String(dir)}`)
  const root = resolve(dir)
  return {
    name: root,
    async get(name) {
      try {
        return await readFile(join(root, name))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw error
      }
    },
    async put(name, bytes) {
      const path = join(root, name)
      const made = join(root, `.writing-${randomBytes(12).toString('hex')}`)
      try {
        const file = await open(made, 'wx')
        try {
          await file.writeFile(bytes)
          await file.sync()
        } finally {
          await file.close()
        }
        await mkdir(dirname(path), { recursive: true })
        await rename(made, path)
      } catch (error) {
        await rm(made, { force: true })
        throw error
      }
    },
    delete: (name) => rm(join(root, name), { force: true }),
    async * list(prefix) {
      try {
        for (const entry of await readdir(join(root, prefix), { recursive: true, withFileTypes: true })) {
          if (entry.isFile()) yield relative(root, join(entry.parentPath, entry.name)).replaceAll(sep, '/')
        }
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      }
    },
  }
}
