"""A way to an address that can be cut, in one direction or both, for good or for a while. One thread; use cut() and mend() from
others. Its clients are told nothing: a stopped direction looks like a network that swallows everything."""
import selectors
import socket
import threading

PIECE = 1 << 18


class Proxy:
    def __init__(self, to, listen=("127.0.0.1", 0)):
        host, port = to.rsplit(":", 1)
        self.to = (host, int(port))
        self.listener = socket.create_server(listen)
        self.listener.setblocking(False)
        self.address = "%s:%d" % self.listener.getsockname()
        self.selector = selectors.DefaultSelector()
        self.wake_in, self.wake_out = socket.socketpair()
        self.wake_in.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, None)
        self.selector.register(self.wake_in, selectors.EVENT_READ, None)
        self.pairs = {}  # socket -> (other one, "there" or "back")
        self.waiting = {}  # socket -> bytes that it does not take yet
        self.stopped = {"there": False, "back": False}
        self.orders = []
        self.lock = threading.Lock()
        self.ended = False
        self.passed = {"there": 0, "back": 0}
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    # ---- any thread ----

    def _order(self, order):
        done = threading.Event()
        with self.lock:
            self.orders.append((order, done))
        self.wake_out.send(b".")
        done.wait(30)

    def cut(self):
        """Closes all connections, as a broken cable with a good memory would: both sides learn of it."""
        self._order(self._cut)

    def stop(self, *directions):
        """Swallows what goes "there" (from who dialed) or "back", from now on; nobody is told."""
        self._order(lambda: self.stopped.update({d: True for d in directions or ("there", "back")}))

    def mend(self):
        """New connections work. Those that lost bytes are closed: TCP would have sent them again, we cannot."""
        def mend():
            if any(self.stopped.values()):
                self._cut()
            self.stopped.update(there=False, back=False)
        self._order(mend)

    def close(self):
        self.ended = True
        self.wake_out.send(b".")
        self.thread.join()
        for one in [self.listener, self.wake_in, self.wake_out, *self.pairs]:
            one.close()

    # ---- the thread ----

    def _cut(self):
        for one in list(self.pairs):
            self._drop(one)

    def _drop(self, one):
        for s in (one, self.pairs.get(one, (None,))[0]):
            if s in self.pairs:
                del self.pairs[s]
                self.waiting.pop(s, None)
                if s in self.selector.get_map():
                    self.selector.unregister(s)
                s.close()

    def _accept(self):
        one, _ = self.listener.accept()
        try:
            other = socket.create_connection(self.to, timeout=5)
        except OSError:
            one.close()
            return
        for s in (one, other):
            s.setblocking(False)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.pairs[one], self.pairs[other] = (other, "there"), (one, "back")
        for s in (one, other):
            self.selector.register(s, selectors.EVENT_READ, s)

    def _give(self, s, data):
        try:
            sent = s.send(data)
        except BlockingIOError:
            sent = 0
        self.waiting[s] = data[sent:]
        self._set(s)
        self._set(self.pairs[s][0])

    def _set(self, s):
        other = self.pairs[s][0]
        events = (0 if self.waiting.get(other) else selectors.EVENT_READ) | (selectors.EVENT_WRITE if self.waiting.get(s) else 0)
        if s in self.selector.get_map():
            if events:
                self.selector.modify(s, events, s)
            else:
                self.selector.unregister(s)
        elif events:
            self.selector.register(s, events, s)

    def _serve(self, s, mask):
        if mask & selectors.EVENT_WRITE and s in self.pairs and self.waiting.get(s):
            self._give(s, self.waiting[s])
        if mask & selectors.EVENT_READ and s in self.pairs:
            other, direction = self.pairs[s]
            data = s.recv(PIECE)
            if not data:
                self._drop(s)
            elif not self.stopped[direction]:
                self.passed[direction] += len(data)
                self._give(other, memoryview(data))

    def _run(self):
        while not self.ended:
            for key, mask in self.selector.select():
                if key.fileobj is self.wake_in:
                    self.wake_in.recv(4096)
                elif key.fileobj is self.listener:
                    self._accept()
                elif key.fileobj in self.pairs:
                    try:
                        self._serve(key.fileobj, mask)
                    except OSError:
                        self._drop(key.fileobj)
            with self.lock:
                orders, self.orders = self.orders, []
            for order, done in orders:
                order()
                done.set()
