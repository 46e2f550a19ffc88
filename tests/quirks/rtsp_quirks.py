"""An RTSP server with cameras' quirks: rtsp_quirks.py VIDEO.h264 AUDIO.aac, of Annex B without B-frames and ADTS.

It prints the port that it listens on, serves TCP interleaved and UDP, and ends with its standard input. The path chooses the quirk:
 plain      nothing odd: video only                       pcma     with G.711 audio
 null       m=audio 0 RTP/AVP (null), a=rtpmap without value
 hik        AAC of payload 104, its fmtp says 97: no config
 backch     ONVIF: metadata and a sendonly audio back channel of 18 payloads
 noaudio    audio is announced and never sent             audiofirst  sound 4 s before the first picture
 audiostop  sound stops after 3 s, pictures go on
 rtp0       RTP-Info says rtptime=0;seq=0, packets do not
 rtplate    RTP-Info names a packet that is 20 000 later than the first
 jump       timestamps jump an hour ahead after 4 s       back     they jump 5 s back after 4 s
 reset      they begin again at 0 after 4 s, same SSRC
 wrap       they pass 2^32 after 5 s, as after 13 hours
 same       every timestamp twice (25 fps camera that stamps 12.5)
 nosprop    parameter sets in-band only                   sdponly  in the SDP only
 nopps      sprop-parameter-sets without PPS, ends in a comma
 nosps      the same without SPS, begins with a comma     onlysps  without PPS and comma
 keep?20    session timeout 20 s (6 without): closed unless a request comes in time; GET_PARAMETER is answered 501
 query      path?channel=1&subtype=0 and relative controls, no Content-Base
 lf         SDP with bare LF, no t= line, no session control
 sr1970     RTCP sender reports with a clock of 1970
 ssrc       another SSRC, sequence and timestamps after 4 s, no notice
 ssrcback   the same, and the first one again after 6 s
 fps0       a=framerate:0, VUI says 0"""
import sys, socket, threading, time, struct, random, base64, math
adts = open(sys.argv[2], 'rb').read()
fps = 12.5
raw = open(sys.argv[1], 'rb').read().replace(b'\0\0\0\1', b'\0\0\1')
nals = [n.rstrip(b'\0') for n in raw.split(b'\0\0\1')[1:]]
sps = next(n for n in nals if n[0] & 31 == 7); pps = next(n for n in nals if n[0] & 31 == 8)
aus, cur = [], []
for n in nals:
    t = n[0] & 31
    if t in (1, 5):
        first = n[1] & 0x80          # first_mb_in_slice == 0
        if first and any(x[0] & 31 in (1, 5) for x in cur): aus.append(cur); cur = []
        cur.append(n)
aus.append(cur)
frames, p = [], 0
while p + 7 <= len(adts):
    size = (adts[p + 3] & 3) << 11 | adts[p + 4] << 3 | adts[p + 5] >> 5
    frames.append(adts[p + 7:p + size]); p += size
mulaw = bytes((int(60 * math.sin(i / 5)) + 128) & 255 for i in range(320))
def sdp(kind, base):
    s64 = base64.b64encode(sps).decode(); p64 = base64.b64encode(pps).decode()
    sprop = {'nosprop': '', 'nopps': f';sprop-parameter-sets={s64},', 'nosps': f';sprop-parameter-sets=,{p64}', 'onlysps': f';sprop-parameter-sets={s64}'}.get(kind, f';sprop-parameter-sets={s64},{p64}')
    ctl = 'trackID=%d' if kind != 'lf' else base + '/trackID=%d'
    v = ['m=video 0 RTP/AVP 96', 'a=rtpmap:96 H264/90000', f'a=fmtp:96 packetization-mode=1;profile-level-id=64001E{sprop}', 'a=control:' + ctl % 0]
    if kind == 'fps0': v.append('a=framerate:0.000000')
    g = ['m=audio 0 RTP/AVP 8', 'a=rtpmap:8 PCMA/8000', 'a=control:' + ctl % 1]
    head = ['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=Media Server', 'c=IN IP4 0.0.0.0', 't=0 0', 'a=control:*', 'a=range:npt=now-']
    if kind == 'lf': head = ['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's= ']
    body = v
    if kind in ('pcma', 'noaudio', 'audiofirst', 'audiostop'): body = v + g
    if kind == 'audiofirst': body = g[:2] + ['a=control:trackID=1'] + v
    if kind == 'null': body = v + ['m=audio 0 RTP/AVP (null)', 'c=IN IP4 0.0.0.0', 'b=AS:64', 'a=rtpmap', 'a=control:' + ctl % 1]
    if kind == 'hik': body = v + ['m=audio 0 RTP/AVP 104', 'b=AS:32', 'a=recvonly', 'a=control:' + ctl % 1, 'a=rtpmap:104 MPEG4-GENERIC/48000', 'a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190']
    if kind == 'backch':
        many = '116 115 114 113 112 111 110 109 108 97 107 106 105 104 0 103 102 101 100 8'
        body = v + ['a=recvonly'] + g + ['a=recvonly', 'm=application 0 RTP/AVP 107', 'a=control:trackID=4', 'a=rtpmap:107 vnd.onvif.metadata/90000', 'a=recvonly',
                'm=audio 0 RTP/AVP ' + many, 'a=control:trackID=5'] + [f'a=rtpmap:{pt} MPEG4-GENERIC/{r}' for pt, r in zip(range(116, 108, -1), (64000, 48000, 32000, 16000, 8000, 44100, 22050, 11025))] + ['a=rtpmap:8 PCMA/8000', 'a=rtpmap:0 PCMU/8000', 'a=sendonly']
    nl = '\n' if kind == 'lf' else '\r\n'
    return nl.join(head + body) + nl
def limit(path): return int(path.split('?')[1].split('/')[0]) if '?' in path and path.split('?')[1].split('/')[0].isdigit() else 6
class Client(threading.Thread):
    def __init__(self, s): super().__init__(daemon=True); self.s = s; self.lock = threading.Lock(); self.tracks = {}; self.stop = False; self.last = time.time()
    def reply(self, cseq, status='200 OK', **h):
        body = h.pop('body', '')
        lines = [f'RTSP/1.0 {status}', f'CSeq: {cseq}'] + [f"{k.replace('_', '-')}: {v}" for k, v in h.items()]
        if body: lines += ['Content-Type: application/sdp', f'Content-Length: {len(body.encode())}']
        with self.lock: self.s.sendall(('\r\n'.join(lines) + '\r\n\r\n' + body).encode())
    def run(self):
        buf = b''
        try:
            while True:
                while b'\r\n\r\n' not in buf or buf[:1] == b'$':
                    if buf[:1] == b'$' and len(buf) >= 4 and len(buf) >= 4 + struct.unpack('>H', buf[2:4])[0]: buf = buf[4 + struct.unpack('>H', buf[2:4])[0]:]; continue
                    d = self.s.recv(65536)
                    if not d: return
                    buf += d
                req, buf = buf.split(b'\r\n\r\n', 1); lines = req.decode().split('\r\n'); m, url, _ = lines[0].split(' ')
                h = {k.strip().lower(): v.strip() for k, v in (l.split(':', 1) for l in lines[1:])}; cseq = h.get('cseq', '0'); self.last = time.time()
                path = url.split('://', 1)[-1].split('/', 1)[-1]; kind = path.split('?')[0].split('/')[0]
                self.limit = limit(path)
                if m == 'OPTIONS': self.reply(cseq, Public='OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN' + ('' if kind == 'keep' else ', GET_PARAMETER'))
                elif m == 'DESCRIBE': self.reply(cseq, **({} if kind in ('query', 'lf') else {'Content_Base': url.rstrip('/') + '/'}), body=sdp(kind, url))
                elif m == 'SETUP':
                    n = int(url.rsplit('trackID=', 1)[1].split('/')[0]) if 'trackID=' in url else 0; tr = h['transport']
                    if 'interleaved' in tr or 'TCP' in tr:
                        ch = int(tr.split('interleaved=')[1].split('-')[0]) if 'interleaved=' in tr else 2 * len(self.tracks); self.tracks[n] = ('tcp', ch); t = f'RTP/AVP/TCP;unicast;interleaved={ch}-{ch + 1}'
                    else:
                        a, b = [int(x) for x in tr.split('client_port=')[1].split(';')[0].split('-')]; u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('127.0.0.1', 0)); u2 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                        try: u2.bind(('127.0.0.1', u.getsockname()[1] + 1))
                        except OSError: u2.bind(('127.0.0.1', 0))
                        self.tracks[n] = ('udp', u, (self.s.getpeername()[0], a), u2, (self.s.getpeername()[0], b)); t = f'RTP/AVP;unicast;client_port={a}-{b};server_port={u.getsockname()[1]}-{u2.getsockname()[1]}'
                    self.reply(cseq, Transport=t, Session='12345678' + (f';timeout={limit(path)}' if kind == 'keep' else ';timeout=60'))
                elif m == 'PLAY':
                    self.base = (1 << 32) - 5 * 90000 if kind == 'wrap' else random.getrandbits(31); self.seq = random.getrandbits(15)
                    first = {'rtp0': 0, 'rtplate': self.seq + 20000 & 0xffff}.get(kind, self.seq)
                    info = f'url={url.rstrip("/")}/trackID=0;seq={first};rtptime={0 if kind == "rtp0" else self.base}'
                    self.reply(cseq, Session='12345678', Range='npt=0.000-', RTP_Info=info); threading.Thread(target=self.play, args=(kind,), daemon=True).start()
                elif m == 'TEARDOWN': self.reply(cseq, Session='12345678'); return
                else: self.reply(cseq, '501 Not Implemented' if kind == 'keep' else '200 OK', Session='12345678')
        except (ConnectionError, OSError): pass
        finally: self.stop = True; self.s.close()
    def send(self, track, pkt, rtcp=False):
        t = self.tracks.get(track)
        if t is None: return
        if t[0] == 'tcp':
            with self.lock: self.s.sendall(b'$' + bytes([t[1] + rtcp]) + struct.pack('>H', len(pkt)) + pkt)
        else: (t[3].sendto(pkt, t[4]) if rtcp else t[1].sendto(pkt, t[2]))
    def rtp(self, track, pt, seq, ts, ssrc, payload, marker): self.send(track, struct.pack('>BBHII', 0x80, pt | marker << 7, seq & 0xffff, ts & 0xffffffff, ssrc) + payload)
    def play(self, kind):
        start = time.time(); n = 0; seq = self.seq; ssrc = random.getrandbits(32); aseq = 0; adone = 0.0; sr = 0
        try:
            while not self.stop:
                t = n / fps
                # sound up to here
                while adone <= t:
                    if kind in ('pcma', 'audiofirst', 'backch') or kind == 'audiostop' and t < 3: self.rtp(1, 8, aseq, int(adone * 8000), 77, mulaw, aseq == 0); step = .04
                    elif kind == 'hik' and frames:
                        f = frames[aseq % len(frames)]; self.rtp(1, 104, aseq, int(adone * 48000), 77, struct.pack('>HH', 16, len(f) << 3) + f, 1); step = 1024 / 48000
                    else: step = .04
                    aseq += 1; adone += step
                if kind == 'audiofirst' and t < 4: pass
                else:
                    ts = self.base + int(t * 90000)
                    if t > 4 and kind == 'jump': ts += 3600 * 90000
                    if t > 4 and kind == 'back': ts -= 5 * 90000
                    if t > 4 and kind == 'reset': ts = int((t - 4) * 90000)
                    if kind == 'same': ts = self.base + int(n // 2 * 2 / fps * 90000)
                    if 4 < t < 6 and kind in ('ssrc', 'ssrcback') and ssrc != 99: old, ssrc, seq, self.base = (ssrc, seq, self.base), 99, 5, 1000
                    if t > 6 and kind == 'ssrcback' and ssrc == 99: ssrc, seq, self.base = old
                    au = list(aus[n % len(aus)]); idr = au[0][0] & 31 == 5
                    if idr and kind != 'sdponly': au = [sps, pps] + au
                    for i, nal in enumerate(au):
                        last = i + 1 == len(au)
                        if len(nal) <= 1400: self.rtp(0, 96, seq, ts, ssrc, nal, last); seq += 1
                        else:
                            ind, hdr, rest = nal[0] & 0xe0 | 28, nal[0] & 31, nal[1:]; parts = [rest[k:k + 1398] for k in range(0, len(rest), 1398)]
                            for k, part in enumerate(parts):
                                end = k + 1 == len(parts); self.rtp(0, 96, seq, ts, ssrc, bytes([ind, hdr | (k == 0) << 7 | end << 6]) + part, last and end); seq += 1
                    if t >= sr and kind in ('sr1970', 'plain', 'jump'):
                        sr += 2; ntp = 2208988800 + t if kind == 'sr1970' else time.time() + 2208988800 + (3600 if kind == 'jump' and t > 4 else 0)
                        self.send(0, struct.pack('>BBHIIIIII', 0x80, 200, 6, ssrc, int(ntp), int(ntp % 1 * 2**32), ts & 0xffffffff, n, n * 1000), True)
                if kind == 'keep' and time.time() - self.last > self.limit: self.s.shutdown(socket.SHUT_RDWR); return
                n += 1; time.sleep(max(0, start + n / fps - time.time()))
        except (ConnectionError, OSError): pass
srv = socket.socket(); srv.bind(('127.0.0.1', 0)); srv.listen(8); print(srv.getsockname()[1], flush=True)
def serve():
    while True: Client(srv.accept()[0]).start()
threading.Thread(target=serve, daemon=True).start()
sys.stdin.read()
