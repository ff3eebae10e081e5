package h264

// NAL unit headers (clause 7.3.1): nal_ref_idc in bits 5 and 6, the type below.
const (
	headerSlice = 2<<5 | 1
	headerIDR   = 3<<5 | 5
	headerSPS   = 3<<5 | 7
	headerPPS   = 3<<5 | 8
)

const (
	profileBaseline  = 66
	constrained      = 0b11000000 // constraint_set0_flag and constraint_set1_flag
	log2MaxFrameNum  = 8
	sliceI, sliceP   = 7, 5 // every slice of the picture has this type
	noDeblocking     = 1
	orderIsDecoding  = 2 // pic_order_cnt_type: output order is decoding order
	colourBT709      = 1
	videoUnspecified = 5
)

// level returns the level_idc of table A-1 that these pictures fit, by size and by
// macroblocks a second; 3.0 at least, whose 10 Mbit/s are room for a moving view.
func (e *Encoder) level() uint32 {
	size := e.mbWidth * e.mbHeight
	speed := size * e.format.RateNum / e.format.RateDen
	for _, l := range []struct{ idc, speed, size int }{
		{30, 40500, 1620}, {31, 108000, 3600}, {32, 216000, 5120}, {40, 245760, 8192}, {42, 522240, 8704},
	} {
		if speed <= l.speed && size <= l.size {
			return uint32(l.idc)
		}
	}
	return 52
}

// sequenceParameters is clause 7.3.2.1 with the usability information of annex E.
func (e *Encoder) sequenceParameters() []byte {
	w := &bitWriter{}
	w.reset(headerSPS)
	w.put(profileBaseline, 8)
	w.put(constrained, 8)
	w.put(e.level(), 8)
	w.ue(0) // seq_parameter_set_id
	w.ue(log2MaxFrameNum - 4)
	w.ue(orderIsDecoding)
	w.ue(1)       // max_num_ref_frames
	w.flag(false) // gaps_in_frame_num_value_allowed_flag
	w.ue(uint32(e.mbWidth - 1))
	w.ue(uint32(e.mbHeight - 1))
	w.flag(true) // frame_mbs_only_flag
	w.flag(true) // direct_8x8_inference_flag

	right, bottom := 16*e.mbWidth-e.format.Width, 16*e.mbHeight-e.format.Height
	w.flag(right > 0 || bottom > 0)
	if right > 0 || bottom > 0 {
		w.ue(0)
		w.ue(uint32(right / 2)) // cropping counts in chroma samples
		w.ue(0)
		w.ue(uint32(bottom / 2))
	}

	w.flag(true) // vui_parameters_present_flag
	w.flag(true) // aspect_ratio_info_present_flag
	w.put(1, 8)  // square
	w.flag(false)
	w.flag(true) // video_signal_type_present_flag
	w.put(videoUnspecified, 3)
	w.flag(false) // video_full_range_flag
	w.flag(true)  // colour_description_present_flag
	for range 3 {
		w.put(colourBT709, 8)
	}
	w.flag(false) // chroma_loc_info_present_flag
	w.flag(true)  // timing_info_present_flag
	w.put(uint32(e.format.RateDen), 32)
	w.put(uint32(2*e.format.RateNum), 32) // it counts fields
	w.flag(true)                          // fixed_frame_rate_flag
	w.flag(false)                         // nal_hrd_parameters_present_flag
	w.flag(false)                         // vcl_hrd_parameters_present_flag
	w.flag(false)                         // pic_struct_present_flag
	w.flag(true)                          // bitstream_restriction_flag
	w.flag(true)                          // motion_vectors_over_pic_boundaries_flag
	w.ue(0)                               // max_bytes_per_pic_denom
	w.ue(0)                               // max_bits_per_mb_denom
	w.ue(10)                              // log2_max_mv_length_horizontal
	w.ue(10)                              // log2_max_mv_length_vertical
	w.ue(0)                               // max_num_reorder_frames: a player need not wait
	w.ue(1)                               // max_dec_frame_buffering
	return w.nalu()
}

// pictureParameters is clause 7.3.2.2.
func (e *Encoder) pictureParameters() []byte {
	w := &bitWriter{}
	w.reset(headerPPS)
	w.ue(0)       // pic_parameter_set_id
	w.ue(0)       // seq_parameter_set_id
	w.flag(false) // entropy_coding_mode_flag: CAVLC
	w.flag(false) // bottom_field_pic_order_in_frame_present_flag
	w.ue(0)       // num_slice_groups_minus1
	w.ue(0)       // num_ref_idx_l0_default_active_minus1
	w.ue(0)       // num_ref_idx_l1_default_active_minus1
	w.flag(false) // weighted_pred_flag
	w.put(0, 2)   // weighted_bipred_idc
	w.se(e.format.QP - 26)
	w.se(0)       // pic_init_qs_minus26
	w.se(0)       // chroma_qp_index_offset
	w.flag(true)  // deblocking_filter_control_present_flag
	w.flag(false) // constrained_intra_pred_flag
	w.flag(false) // redundant_pic_cnt_present_flag
	return w.nalu()
}

// beginSlice writes the slice header, clause 7.3.3, and moves frame_num on.
func (e *Encoder) beginSlice(key bool) {
	w := &e.w
	if key {
		w.reset(headerIDR)
		e.frameNum = 0
		e.idrID ^= 1 // consecutive IDR pictures must differ
	} else {
		w.reset(headerSlice)
		e.frameNum = (e.frameNum + 1) % (1 << log2MaxFrameNum)
	}

	w.ue(0) // first_mb_in_slice
	if key {
		w.ue(sliceI)
	} else {
		w.ue(sliceP)
	}
	w.ue(0) // pic_parameter_set_id
	w.put(e.frameNum, log2MaxFrameNum)
	if key {
		w.ue(e.idrID)
		w.flag(false) // no_output_of_prior_pics_flag
		w.flag(false) // long_term_reference_flag
	} else {
		w.flag(false) // num_ref_idx_active_override_flag
		w.flag(false) // ref_pic_list_modification_flag_l0
		w.flag(false) // adaptive_ref_pic_marking_mode_flag
	}
	w.se(0) // slice_qp_delta
	w.ue(noDeblocking)
}
