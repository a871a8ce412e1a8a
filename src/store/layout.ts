import { join } from 'node:path'
import { StoreError } from '../core/errors.js'
import { makeFolder } from '../core/paths.js'
import { native } from '../native/load.js'

/** Version of the directory's format. A directory of another version is refused, never converted in place. */
export const STORE_FORMAT = 1

/** Where things lie below a cache directory; docs/formats/store.md describes each. */
export interface Layout {
  readonly dir: string
  readonly index: string
  readonly blobs: string
  readonly tmp: string
  readonly quarantine: string
}

export function layoutOf(dir: string): Layout {
  return { dir, index: join(dir, 'index'), blobs: join(dir, 'blobs'), tmp: join(dir, 'tmp'), quarantine: join(dir, 'quarantine') }
}

/** `blobs/ab/<64 hex>` */
export function blobPath(layout: Layout, digest: string): string {
  return join(layout.blobs, digest.slice(0, 2), digest)
}

// f_type of statfs(2). LMDB's locks and its shared mapping are only sound where all processes see one page cache.
const NETWORK_FILE_SYSTEMS = new Map<number, string>([
  [0x6969, 'NFS'], [0x517b, 'SMB'], [0xff534d42, 'CIFS'], [0xfe534d42, 'SMB2'], [0x01021997, '9p'], [0x0bd00bd0, 'Lustre'],
  [0x00c36400, 'Ceph'], [0x47504653, 'GPFS'], [0x5346414f, 'AFS'], [0x19830326, 'BeeGFS'], [0x73757245, 'Coda'], [0x7461636f, 'OCFS2'],
])

/** Creates the folders and refuses file systems that cannot hold the index. */
export function prepareLayout(layout: Layout): void {
  try {
    for (const folder of [layout.index, layout.blobs, layout.tmp, layout.quarantine]) makeFolder(folder)
  } catch (cause) {
    throw new StoreError(layout.dir, `cannot be created or written (${(cause as Error).message})`, { cause })
  }
  const kind = NETWORK_FILE_SYSTEMS.get(native().fileSystemType(layout.index) >>> 0)
  if (kind !== undefined) {
    throw new StoreError(layout.dir, `lies on a network file system (${kind}), where the index cannot be shared safely; choose a local folder`)
  }
}
