package repart

import "slices"

// Merge returns the definition of a partition that does the work of two: of
// target, and of supplement, whose SupplementFor= names target. Weights are the
// supplement's, of sizes the stricter bound counts, files and folders are those
// of both, and everything else is the target's.
//
// Of minimum sizes, that of the supplement counts unless it is smaller; where
// the supplement has none there is none. Of minimum paddings the larger counts
// if both have one, and there is none otherwise. That is so in systemd-repart(8)
// but against its manual.
func Merge(target, supplement *Definition) Definition {
	d := *target
	d.Weight, d.PaddingWeight = supplement.Weight, supplement.PaddingWeight
	d.SizeMin, d.PaddingMin = mergeMin(target.SizeMin, supplement.SizeMin), mergeMin(target.PaddingMin, supplement.PaddingMin)
	if target.PaddingMin == nil {
		d.PaddingMin = nil
	}
	d.SizeMax, d.PaddingMax = mergeMax(target.SizeMax, supplement.SizeMax), mergeMax(target.PaddingMax, supplement.PaddingMax)
	d.CopyFiles = slices.Concat(target.CopyFiles, supplement.CopyFiles)
	d.ExcludeFiles = slices.Concat(target.ExcludeFiles, supplement.ExcludeFiles)
	d.ExcludeFilesTarget = slices.Concat(target.ExcludeFilesTarget, supplement.ExcludeFilesTarget)
	d.MakeDirectories = slices.Concat(target.MakeDirectories, supplement.MakeDirectories)
	d.Subvolumes = slices.Clone(target.Subvolumes)
	for _, v := range supplement.Subvolumes {
		if !d.hasSubvolume(v.Path) {
			d.Subvolumes = append(d.Subvolumes, v)
		}
	}
	if d.Format == "" {
		d.Format = d.impliedFormat()
		d.FormatImplied = d.Format != ""
	}
	return d
}

func mergeMin(target, supplement *uint64) *uint64 {
	if target != nil && supplement != nil && *supplement < *target {
		return target
	}
	return supplement
}

func mergeMax(target, supplement *uint64) *uint64 {
	if supplement == nil || target != nil && *target < *supplement {
		return target
	}
	return supplement
}
