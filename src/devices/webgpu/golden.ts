/**
 * SHA-256 of the outputs of each miniature of canary.ts, from the reference in test/reference. Written by `TENSORCACHE_WRITE_GOLDEN=1 npm test -- test/determinism/golden`.
 * When one changes, results have changed: raise the version of the ops that use the kernel.
 */
export const GOLDEN: Readonly<Record<string, string>> = {
  'cast': '6d8253737e131fb58c900c448fc323e3fee15be623a2cbf517ff827904da3e19',
  'move': '732b81d3f14faf0fc1fd77bfbe6a81e3e62cfc4cbf7e0584ed2c0ffda32e012d',
  'resample': '4add383cc937a3b97231356066ec892e991738dc2db75501be7831f7f39c4ef7',
  'affine': '3fbba8c392907574c26ccace101cf8b313d0890fa2a86c94af2c893bfac09729',
  'affine-nearest': '595a43bf78d2fabd0119702cd6d310d9d340868344204d7801b0a8e0baf404bc',
  'foreground-box': '3e0ba149a3d87b9d885ed692d9566e5bdf290b6083f894ca0a23627c0c1617d1',
  'normalize-float': '385a795f6d0563ca6e48b39d62a08263caca6874b53f3de851283d6dacdb3768',
  'normalize-integers': '06831505a5be32a5305c4944be352ca80d42836fbc171121f690175d1a40f564',
  'normalize-extrema': '290245516fdf15eb9f36fd6892bdbcf188fa2c08f15f5a7bcbf8b181976cc2d1',
  'normalize-quantiles': '72df38c5ca8a1df31a4446d70406bcd0f8936c9005fd6cd27d1a914edab0e109',
  'normalize-given': 'fe9cb2e10a856061398374dd068f10f872ffbb8f41290c251e638979eb3a5fcd',
  'neighbors-radius': 'bcfc1dd204f7fc43262db3d24de94b0c23c9ab6733baa5fbcb40db419b7394fe',
  'neighbors-nearest': '80016a34ec9792aef5a155ceac91dec5f725aef511747b543ec6404b0eee9e9d',
  'nearest-points': '98027fc09bb4bb7e50e1776dc49d2a1843064a31249a936b5e12f1f29afb0362',
}
