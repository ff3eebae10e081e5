"""A player for the tests that talks: GStreamer's rtspsrc with ONVIF's back channel.

usage: talker.py URL tcp|udp

Plays the video of the URL, if it has one, and sends a tone to its back channel. Prints
"talking" with the first sound that it sends, and "playing N" each 25 packets of video.
Ends when its standard input ends.
"""
import ctypes, sys, threading
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
from gi.repository import GLib, Gst, GstRtsp

url, transport = sys.argv[1:3]
Gst.init(None)
gst = ctypes.CDLL("libgstreamer-1.0.so.0")
pipeline = Gst.Pipeline()
src = Gst.ElementFactory.make("rtspsrc")
src.set_property("location", url)
src.set_property("latency", 0)
src.set_property("backchannel", 1)
src.set_property("protocols", GstRtsp.RTSPLowerTrans.TCP if transport == "tcp" else GstRtsp.RTSPLowerTrans.UDP)
pipeline.add(src)
seen = 0
back = None


def say(line):
    print(line, flush=True)


def select(_, number, caps):
    global back
    s = caps.get_structure(0)
    if not s.has_field("a-sendonly"):
        return True
    tone = Gst.parse_launch("audiotestsrc is-live=true samplesperbuffer=160 ! audio/x-raw,rate=8000,channels=1 ! mulawenc ! "
                            "rtppcmupay pt=%d max-ptime=20000000 ! appsink name=sink emit-signals=true" % s.get_int("payload")[1])
    first = [True]

    def sample(sink):
        taken = sink.emit("pull-sample")
        gst.gst_mini_object_ref(ctypes.c_void_p(hash(taken)))  # the action drops one of its own
        src.emit("push-backchannel-sample", number, taken)
        if first[0]:
            first[0] = False
            say("talking")
        return Gst.FlowReturn.OK

    tone.get_by_name("sink").connect("new-sample", sample)
    back = tone
    return True


def video(pad, info):
    global seen
    seen += 1
    if seen % 25 == 0:
        say("playing %d" % seen)
    return Gst.PadProbeReturn.OK


def pad_added(_, pad):
    sink = Gst.ElementFactory.make("fakesink")
    sink.set_property("sync", False)
    pipeline.add(sink)
    sink.sync_state_with_parent()
    pad.add_probe(Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST, video)
    pad.link(sink.get_static_pad("sink"))


def message(_, m):
    if m.type == Gst.MessageType.ERROR:
        say("error: %s %s" % m.parse_error())
        loop.quit()
    elif m.type == Gst.MessageType.STATE_CHANGED and m.src == pipeline and m.parse_state_changed()[1] == Gst.State.PLAYING and back:
        back.set_state(Gst.State.PLAYING)


src.connect("select-stream", select)
src.connect("pad-added", pad_added)
loop = GLib.MainLoop()
bus = pipeline.get_bus()
bus.add_signal_watch()
bus.connect("message", message)
threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
pipeline.set_state(Gst.State.PLAYING)
loop.run()
if back:
    back.set_state(Gst.State.NULL)
pipeline.set_state(Gst.State.NULL)
