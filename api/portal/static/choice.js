// Which ways there are to show a camera in a browser, the best first. It knows no page and
// asks nobody: what the server says of the streams and what the browser can come in.

// able has what a browser can: webrtc is a list of the codecs that it decodes from RTP ([]:
// it has no WebRTC); mse and hls are functions of a MIME type.
//
// wanted is "main" or "sub"; sound whether it should be heard. Of streams, as the API
// describes them, what is absent is unknown; a stream without a codec was never seen.
//
// The result has ways, each {way: "webrtc" | "mse" | "hls" | "still", stream}, and the
// reason, if nothing but still pictures is left: {key, codec} of words.
export function choose({ streams, able, wanted, sound = false }) {
  const other = wanted === "main" ? "sub" : "main";
  const seen = (name) => streams?.[name]?.video?.codec !== undefined || streams?.[name]?.seen_at !== undefined;
  const still = { way: "still", stream: wanted };
  if (!seen("main") && !seen("sub")) { // the server says what is wrong, if anything is
    const guesses = able.webrtc.length > 0 ? [{ way: "webrtc", stream: wanted }] : [];
    return { ways: [...guesses, still], reason: guesses.length ? null : { key: "player.no_way", codec: "" } };
  }
  const ways = [wanted, other].filter(seen).flatMap((name) => waysOf(streams[name], able, sound).map((way) => ({ way, stream: name })));
  const about = seen(wanted) ? streams[wanted] : streams[other];
  return { ways: [...ways, still], reason: ways.length ? null : reasonOf(about, able) };
}

function waysOf({ video, audio }, able, sound) {
  if (!video?.codec) return [];
  const mime = mimeOf(video);
  const ways = [];
  if (!video.b_frames && able.webrtc.includes(video.codec)) ways.push("webrtc");
  if (mime && able.mse(mime)) ways.push("mse");
  if (mime && able.hls(mime)) ways.push("hls");
  // WebRTC would be silent.
  if (sound && audio?.codec && ways[0] === "webrtc" && ways.length > 1 && !able.webrtc.includes(audio.codec)) ways.push(ways.shift());
  return ways;
}

function reasonOf({ video }, able) {
  const codec = { H264: "H.264", H265: "H.265" }[video?.codec] || video?.codec || "";
  if (!codec) return { key: "player.no_video", codec };
  if (!mimeOf(video)) return { key: "player.no_codec", codec };
  if (video.b_frames && able.webrtc.includes(video.codec)) return { key: "player.b_frames", codec };
  return { key: "player.no_decoder", codec };
}

const profiles = { "Constrained Baseline": "42e0", Baseline: "42e0", Main: "4d40", Extended: "58a0", High: "6400" };

// mimeOf returns the MIME type of a video in MP4 (RFC 6381), "" if MP4 has none for it. An
// unknown profile or level is what cameras usually send.
export function mimeOf({ codec, profile, level }) {
  const tier = Number(level) || 4.1;
  if (codec === "H264") {
    const number = Math.round(tier * 10).toString(16).padStart(2, "0");
    return `video/mp4; codecs="avc1.${profiles[profile] || "6400"}${number}"`;
  }
  if (codec === "H265") {
    const kind = profile === "Main 10" ? "2.4" : "1.6";
    return `video/mp4; codecs="hvc1.${kind}.L${Math.round(tier * 30)}.B0"`;
  }
  return "";
}
