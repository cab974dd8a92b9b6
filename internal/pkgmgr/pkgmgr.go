// Package pkgmgr installs packages into an image's tree: one driver a package
// manager. The package manager's programs are the host's and run outside of
// the image, in a sandbox that shows them the tree at BuildRoot.
package pkgmgr

// BuildRoot is where the sandbox shows the image's tree to the tools, so that
// nothing they write down depends on the workspace.
const BuildRoot = "/buildroot"
