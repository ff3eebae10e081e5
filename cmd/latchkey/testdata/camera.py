"""A camera for the tests that is not ours: GStreamer's RTSP server.

usage: camera.py basic|digest USER PASSWORD

Listens on a free port of 127.0.0.1 and prints it. Every mount needs the user. /talk has
ONVIF's back channel, for PCMU: what is heard is said on standard error, as "heard N", in bytes.
/onvif/replay/recording_1 replays by ONVIF; it has pictures of any time since 1900.
Ends when its standard input ends.
"""
import sys, threading
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

VIDEO = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 ! "
AUDIO = "audiotestsrc is-live=true wave=ticks ! audioconvert ! audioresample ! "
H264 = VIDEO + "x264enc tune=zerolatency key-int-max=25 bitrate=1000 ! rtph264pay name=pay0 pt=96 config-interval=1 "
MOUNTS = {
    "/h264": H264,
    "/h265": VIDEO + "x265enc tune=zerolatency key-int-max=25 speed-preset=ultrafast ! h265parse ! rtph265pay name=pay0 pt=96 config-interval=1 ",
    "/mjpeg": VIDEO.replace("framerate", "format=I420,framerate") + "jpegenc ! rtpjpegpay name=pay0 pt=26 ",
    "/aac": H264 + AUDIO + "audio/x-raw,rate=44100,channels=2 ! avenc_aac ! aacparse ! rtpmp4gpay name=pay1 pt=97 ",
    "/pcma": H264 + AUDIO + "audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8 ",
    "/opus": H264 + AUDIO + "audio/x-raw,rate=48000,channels=2 ! opusenc ! rtpopuspay name=pay1 pt=98 ",
    # Hikvision's addresses
    "/Streaming/Channels/101": H264,
    "/Streaming/Channels/102": H264.replace("width=320,height=240", "width=160,height=120"),
}
BACK = ("( capsfilter caps=\"application/x-rtp,media=audio,payload=0,clock-rate=8000,encoding-name=PCMU\" name=depay_backchannel ! "
        "rtppcmudepay ! fakesink name=ear async=false sync=false signal-handoffs=true )")
# The time of its pictures is that of NTP, which is also where ONVIF's Range: clock seeks to.
PAST = (H264.replace("is-live=true ", "").replace("rtph264pay name=pay0", "h264parse ! rtph264pay") +
        "! rtponviftimestamp ntp-offset=0 set-e-bit=true set-t-bit=true drop-out-of-segment=false")
heard = 0


class Recordings(GstRtspServer.RTSPOnvifMediaFactory):
    def do_create_element(self, url):
        top, pay = Gst.Bin(), Gst.parse_bin_from_description(PAST, True)
        pay.set_name("pay0")
        top.add(pay)
        return top


def listen(_, media):
    def hear(_, buffer, pad):
        global heard
        heard += buffer.get_size()
        print("heard %d" % heard, file=sys.stderr, flush=True)
    ear = media.get_element().get_by_name("ear")
    if ear:
        ear.connect("handoff", hear)


def main():
    method, user, password = sys.argv[1:4]
    Gst.init(None)
    server = GstRtspServer.RTSPOnvifServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    if method == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    mounts = server.get_mount_points()
    for path, launch in MOUNTS.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch("( " + launch + ")")
        factory.set_shared(True)
        factory.set_permissions(permissions)
        mounts.add_factory(path, factory)
    factory = GstRtspServer.RTSPOnvifMediaFactory()
    factory.set_launch("( " + H264 + ")")
    factory.set_backchannel_launch(BACK)
    factory.set_shared(False)
    factory.set_media_gtype(GstRtspServer.RTSPOnvifMedia.__gtype__)
    factory.set_permissions(permissions)
    factory.connect("media-configure", listen)
    mounts.add_factory("/talk", factory)
    factory = Recordings()
    factory.set_replay_support(True)
    factory.set_media_gtype(GstRtspServer.RTSPOnvifMedia.__gtype__)
    factory.set_permissions(permissions)
    mounts.add_factory("/onvif/replay/recording_1", factory)
    if server.attach(None) == 0:
        sys.exit("the RTSP server does not listen")
    print(server.get_bound_port(), flush=True)
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    loop.run()


main()
