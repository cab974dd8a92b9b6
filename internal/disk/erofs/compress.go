package erofs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/mkosi-go/mkosi/internal/disk/content"
)

// chunk is a part of a file that is compressed together. Its blocks follow
// those of the previous one; when it has as many as it has clusters, it is not
// compressed.
type chunk struct {
	// clusters is its size, in blocks.
	clusters uint16
	// blocks is how many it takes in the image.
	blocks uint16
}

// job is a chunk on its way through compress.
type job struct {
	// node is what the chunk is a part of.
	node *node
	// files are read into the chunk, one behind the other; nil when it is
	// there already.
	files []*node
	// whole says that the content goes on to the end of the last cluster.
	whole bool
	in    []byte
	size  int

	// out is what is stored, in or a part of room. The job belongs to its
	// worker until done holds a value.
	out, room []byte
	err       error
	done      chan struct{}
}

// compress compresses the content of files into the scratch file. One goroutine
// cuts files into chunks and reads those that have several, workers read and
// compress, and one writes what they return, in the order of the chunks.
func (im *Image) compress(ctx context.Context) error {
	workers, err := encoders(im.options)
	if err != nil {
		return err
	}
	if err := im.openScratch(); err != nil {
		return err
	}
	// Each worker has one job in work and one that waits.
	count := 2*len(workers) + 1
	p := &pipeline{
		im:    im,
		free:  make(chan *job, count),
		todo:  make(chan *job, count),
		order: make(chan *job, count),
	}
	for range count {
		// One more byte shows that a file has grown.
		p.free <- &job{
			in:   make([]byte, im.options.ChunkSize+1),
			room: make([]byte, encodedSize(im.options.ChunkSize)),
			done: make(chan struct{}, 1),
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(p.todo)
		defer close(p.order)
		return p.cut(ctx)
	})
	for _, e := range workers {
		g.Go(func() error {
			for j := range p.todo {
				j.err = j.run(ctx, e)
				j.done <- struct{}{}
			}
			return nil
		})
	}
	g.Go(func() error { return p.store(ctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	im.settle()
	return nil
}

// openScratch decides where compressed content goes.
func (im *Image) openScratch() error {
	if im.options.File != nil {
		im.scratch, im.scratchOffset = im.options.File, im.options.Offset
		return nil
	}
	f, err := os.CreateTemp(im.options.TempDir, "erofs-")
	if err != nil {
		return err
	}
	im.scratch = f
	return os.Remove(f.Name())
}

// settle makes plain files of those of which nothing could be compressed.
func (im *Image) settle() {
	for _, n := range im.nodes {
		if n.chunks == nil {
			continue
		}
		n.layout = layoutPlain
		for _, c := range n.chunks {
			if c.blocks < c.clusters {
				n.layout = layoutCompact
				break
			}
		}
	}
}

// pipeline is the state that the goroutines of compress share.
type pipeline struct {
	im    *Image
	free  chan *job
	todo  chan *job
	order chan *job
}

// take returns a job that nobody uses.
func (p *pipeline) take(ctx context.Context) (*job, error) {
	select {
	case j := <-p.free:
		return j, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// put hands a job to the workers. Neither channel is ever full.
func (p *pipeline) put(j *job) {
	p.order <- j
	p.todo <- j
}

// cut makes the jobs: first those of small files, as the blocks of an inode
// follow each other, then those of the others.
func (p *pipeline) cut(ctx context.Context) error {
	var small, large []*node
	for _, n := range p.im.nodes {
		switch {
		case n.entry.Type() != unix.S_IFREG || n.size == 0:
		case p.im.options.Fragments && n.isFragment(p.im.options):
			small = append(small, n)
		case n.layout == layoutInline && n.size < BlockSize:
		default:
			large = append(large, n)
		}
	}
	if err := p.cutPacked(ctx, small); err != nil {
		return err
	}
	for _, n := range large {
		if err := p.cutFile(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// cutPacked makes the jobs of the packed inode. No file lies in two chunks of
// it, so that workers can read them.
func (p *pipeline) cutPacked(ctx context.Context, files []*node) error {
	if len(files) == 0 {
		return nil
	}
	im := p.im
	im.packed = im.add(&content.Entry{Mode: unix.S_IFREG, Mtime: im.options.BuildTime})
	im.packed.nlink, im.packed.extended = 1, true
	for len(files) > 0 {
		j, err := p.take(ctx)
		if err != nil {
			return err
		}
		count, size := 0, int64(0)
		for _, n := range files {
			if size+n.size > int64(im.options.ChunkSize) {
				break
			}
			n.fragment, n.layout, n.tail = true, layoutCompact, 0
			n.position = im.packed.size + size
			size += n.size
			count++
		}
		im.packed.size += roundUp(size)
		j.node, j.files, j.whole = im.packed, files[:count], true
		files = files[count:]
		p.put(j)
	}
	return nil
}

// isFragment reports whether the content of a file goes into the packed inode:
// when it is small, unless it takes no more room behind its own inode.
func (n *node) isFragment(o Options) bool {
	if n.size > int64(o.ChunkSize/2) {
		return false
	}
	slots := func(size int64) int64 { return (size + slotSize - 1) / slotSize }
	return slots(n.attributesEnd()+n.size) > slots(n.indexStart())
}

// cutFile makes the jobs of a file that is compressed by itself, in chunks of
// about the same size.
func (p *pipeline) cutFile(ctx context.Context, n *node) error {
	n.tail, n.layout = 0, layoutPlain
	largest := int64(p.im.options.ChunkSize)
	count := (n.size + largest - 1) / largest
	n.chunks = make([]chunk, 0, count)
	if count == 1 {
		j, err := p.take(ctx)
		if err != nil {
			return err
		}
		j.node, j.files, j.whole = n, []*node{n}, false
		p.put(j)
		return nil
	}
	buf := make([]byte, roundUp((n.size+count-1)/count))
	err := n.entry.Pieces(ctx, buf, func(b []byte, _ int64) error {
		j, err := p.take(ctx)
		if err != nil {
			return err
		}
		j.node, j.files, j.whole, j.size = n, nil, false, copy(j.in, b)
		p.put(j)
		return nil
	})
	if err != nil {
		return fmt.Errorf("/%s: %w", n.entry.Path, err)
	}
	return nil
}

// run reads what has to be read for a chunk, and compresses it.
func (j *job) run(ctx context.Context, e *encoder) error {
	if j.files != nil {
		j.size = 0
		for _, n := range j.files {
			err := n.entry.Pieces(ctx, j.in[j.size:j.size+int(n.size)+1], func([]byte, int64) error { return nil })
			if err != nil {
				return fmt.Errorf("/%s: %w", n.entry.Path, err)
			}
			j.size += int(n.size)
		}
	}
	in := j.in[:roundUp(int64(j.size))]
	clear(in[j.size:])
	if j.whole {
		j.size = len(in)
	}
	var err error
	j.out, err = e.encode(j.room, in, j.size)
	return err
}

// store writes chunks in their order.
func (p *pipeline) store(ctx context.Context) error {
	im := p.im
	for j := range p.order {
		select {
		case <-j.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if j.err != nil {
			return j.err
		}
		n := j.node
		c := chunk{clusters: uint16(roundUp(int64(j.size)) / BlockSize), blocks: uint16(len(j.out) / BlockSize)}
		if len(n.chunks) == 0 {
			n.block = uint32(im.packedEnd)
		}
		n.chunks = append(n.chunks, c)
		if _, err := im.scratch.WriteAt(j.out, im.scratchOffset+im.packedEnd*BlockSize); err != nil {
			return fmt.Errorf("keeping compressed content: %w", err)
		}
		im.packedEnd += int64(c.blocks)
		if im.packedEnd >= noBlock {
			return errTooLarge
		}
		p.free <- j
	}
	return nil
}

// roundUp rounds a size up to whole blocks.
func roundUp(size int64) int64 { return (size + BlockSize - 1) &^ (BlockSize - 1) }

// copyPacked brings the compressed content to its place in w, if it is not
// there already.
func (im *Image) copyPacked(ctx context.Context, w io.WriterAt, offset int64) error {
	size := (im.packedEnd - 1) * BlockSize
	f, _ := w.(*os.File)
	if size == 0 {
		return nil
	}
	if im.scratch == im.options.File {
		if f != im.scratch || offset != im.scratchOffset {
			return errors.New("the image was planned for another place")
		}
		return nil
	}
	if im.scratch == nil {
		return errors.New("the image is closed")
	}
	from, to := int64(BlockSize), offset+BlockSize
	for size > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := copyRange(f, w, im.scratch, from, to, min(size, 16<<20))
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		from, to, size = from+n, to+n, size-n
	}
	return nil
}

// copyRange copies a part of a file, within the kernel if both are files that
// it can do that with. It may copy less than size.
func copyRange(file *os.File, w io.WriterAt, r *os.File, from, to, size int64) (int64, error) {
	if file != nil {
		in, out := from, to
		n, err := unix.CopyFileRange(int(r.Fd()), &in, int(file.Fd()), &out, int(size), 0)
		switch {
		case err == nil && n > 0:
			return int64(n), nil
		case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EFBIG), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EIO):
			return 0, &os.PathError{Op: "write", Path: file.Name(), Err: err}
		}
	}
	return io.Copy(io.NewOffsetWriter(w, to), io.NewSectionReader(r, from, min(size, copySize)))
}
