'use strict';
/*
 * Draws points with deck.gl, in a layer of our own: without a graphics card, deck.gl's circles take twenty times as long. While the
 * view moves, only as many points are drawn as keep the frame rate; once it rests, all of them. Points are ordered so that every
 * prefix is an even sample.
 */
const points = (() => {
  const LEVELS = 4;
  /** Milliseconds between frames: above SLOW fewer points are drawn, below FAST more. */
  const SLOW = 45;
  const FAST = 28;
  const MIN_POINTS = 4000;
  const REST = 300;

  const block = `layout(std140) uniform dotsUniforms {
  mat4 matrix;
  float size;
} dots;
`;

  const vs = `#version 300 es
in vec2 positions;
in vec4 colours;
out vec4 colour;
void main() {
  gl_Position = dots.matrix * vec4(positions, 0.0, 1.0);
  gl_PointSize = dots.size;
  colour = colours;
}`;

  const fs = `#version 300 es
precision mediump float;
in vec4 colour;
out vec4 fragment;
void main() {
  float from = length(gl_PointCoord - 0.5);
  float inside = 1.0 - smoothstep(0.5 - 1.0 / dots.size, 0.5, from);
  fragment = vec4(colour.rgb, colour.a * inside);
}`;

  /** Whether this browser has WebGL 2. */
  function possible() {
    return Boolean(window.deck && document.createElement('canvas').getContext('webgl2'));
  }

  function layerClass() {
    const { Layer, Model } = deck;
    class Dots extends Layer {
      initializeState() {
        const { device } = this.context;
        const { capacity } = this.props;
        const positions = device.createBuffer({ byteLength: 8 * capacity });
        const colours = device.createBuffer({ byteLength: 4 * capacity });
        const model = new Model(device, {
          ...this.getShaders({ vs, fs, modules: [{ name: 'dots', vs: block, fs: block, uniformTypes: { matrix: 'mat4x4<f32>', size: 'f32' } }] }),
          id: this.props.id,
          topology: 'point-list',
          bufferLayout: [{ name: 'positions', format: 'float32x2' }, { name: 'colours', format: 'unorm8x4' }],
          attributes: { positions, colours },
          isInstanced: false,
          parameters: {
            depthWriteEnabled: false, depthCompare: 'always', blend: true,
            blendColorOperation: 'add', blendColorSrcFactor: 'src-alpha', blendColorDstFactor: 'one-minus-src-alpha',
            blendAlphaOperation: 'add', blendAlphaSrcFactor: 'one', blendAlphaDstFactor: 'one-minus-src-alpha',
          },
        });
        this.setState({ model, positions, colours });
      }

      updateState({ props, oldProps }) {
        if (props.moved !== oldProps.moved) this.state.positions.write(props.positions);
        if (props.painted !== oldProps.painted) this.state.colours.write(props.colours);
      }

      draw() {
        const { count, share, size } = this.props;
        const drawn = Math.ceil(count * share());
        if (!drawn) return;
        const { model } = this.state;
        model.setVertexCount(drawn);
        model.shaderInputs.setProps({ dots: { matrix: this.context.viewport.viewProjectionMatrix, size: size() } });
        model.draw(this.context.renderPass);
      }

      finalizeState(context) {
        super.finalizeState(context);
        for (const resource of ['model', 'positions', 'colours']) this.state[resource].destroy();
      }
    }
    Dots.layerName = 'Dots';
    Dots.defaultProps = {
      capacity: 1, count: 0, moved: 0, painted: 0,
      positions: { type: 'object', value: null }, colours: { type: 'object', value: null },
      share: { type: 'function', value: () => 1 }, size: { type: 'function', value: () => 1 },
    };
    return Dots;
  }

  /**
   * A canvas for `n` points in `parent`. `base`: a point's size in pixels when all points are in view. `onView`: called when the
   * view has moved. `onFailure`: called if drawing fails.
   */
  function canvas(parent, n, { base, onView, onFailure }) {
    const Dots = layerClass();
    const levels = Array.from({ length: LEVELS }, () => ({ count: 0, positions: new Float32Array(2 * n), colours: new Uint8Array(4 * n) }));
    let order = new Uint32Array(0);
    let [moved, painted] = [0, 0];
    let view = { target: [0, 0, 0], zoom: 0 };
    let whole = view;
    let [share, moving, resting, dragged] = [1, false, 0, false];
    let [tick, drawn] = [null, false];

    const size = () => window.devicePixelRatio * Math.min(Math.max(base * 2 ** (0.4 * (view.zoom - whole.zoom)), base), 16);
    const part = () => (moving ? share : 1);

    const map = new deck.Deck({
      parent,
      views: new deck.OrthographicView({ flipY: false, controller: { inertia: false, doubleClickZoom: true, scrollZoom: { speed: 0.006 }, keyboard: false } }),
      deviceProps: { webgl: { antialias: false } },
      viewState: view,
      onViewStateChange: ({ viewState, interactionState }) => {
        dragged = Boolean(interactionState.isDragging);
        setView(viewState);
      },
      onInteractionStateChange: ({ isDragging }) => { dragged = Boolean(isDragging); },
      onError: onFailure,
      onAfterRender: () => {
        drawn = true;
        parent.dataset.frames = Number(parent.dataset.frames ?? 0) + 1;
      },
      layers: [],
    });

    /** While the view moves, adapts the fraction of points drawn to the time between frames. */
    function pace(now) {
      if (!moving) {
        tick = null;
        return;
      }
      const took = now - tick;
      if (drawn && took > SLOW) share = Math.max(share * Math.max(0.4, FAST / took), Math.min(1, MIN_POINTS / n));
      else if (drawn && took < FAST) share = Math.min(1, share * 1.08);
      tick = now;
      drawn = false;
      requestAnimationFrame(pace);
    }

    /** Marks the view as moving until nothing has happened for a while. */
    function move() {
      moving = true;
      if (tick === null) {
        tick = performance.now();
        requestAnimationFrame(pace);
      }
      clearTimeout(resting);
      resting = setTimeout(rest, REST);
    }

    function rest() {
      if (dragged) {
        resting = setTimeout(rest, REST);
        return;
      }
      moving = false;
      map.redraw('at rest');
    }

    function setView({ target, zoom }) {
      view = { target, zoom: Math.min(Math.max(zoom, whole.zoom - 1), whole.zoom + 10) };
      move();
      map.setProps({ viewState: view });
      onView();
    }

    /** Shows a whole area, given its centre, width and height. */
    function fit([x, y, width, height]) {
      const zoom = Math.log2(Math.min(parent.clientWidth / width, parent.clientHeight / height) * 0.92);
      whole = { target: [x, y, 0], zoom };
      setView(whole);
    }

    function show() {
      map.setProps({
        layers: levels.map(({ count, positions, colours }, level) => new Dots({
          id: `dots-${level}`, capacity: n, count, moved, painted, positions, colours, share: part, size,
        })),
      });
    }

    /** Places all points at `xy`. */
    function place(xy, isMoving = false) {
      if (isMoving) move();
      let from = 0;
      for (const { count, positions } of levels) {
        for (let k = 0; k < count; k++) {
          const i = order[from + k];
          positions[2 * k] = xy[2 * i];
          positions[2 * k + 1] = xy[2 * i + 1];
        }
        from += count;
      }
      moved++;
      show();
    }

    /** Sets every point's level (higher levels are drawn on top) and colour. */
    function paint(levelOf, rgba, xy) {
      const lists = levels.map(() => []);
      for (let i = 0; i < n; i++) lists[levelOf[i]].push(i);
      order = Uint32Array.from(lists.flat());
      lists.forEach((list, level) => {
        levels[level].count = list.length;
        list.forEach((i, k) => levels[level].colours.set(rgba.subarray(4 * i, 4 * i + 4), 4 * k));
      });
      painted++;
      place(xy);
    }

    const scale = () => 2 ** view.zoom;
    return {
      paint,
      place,
      fit,
      scale,
      /** Pixel to map coordinates. */
      at: ([x, y]) => [view.target[0] + (x - parent.clientWidth / 2) / scale(), view.target[1] - (y - parent.clientHeight / 2) / scale()],
      /** Map coordinates to pixel. */
      pixel: ([x, y]) => [parent.clientWidth / 2 + (x - view.target[0]) * scale(), parent.clientHeight / 2 - (y - view.target[1]) * scale()],
      pan: (x, y) => setView({ target: [view.target[0] + x / scale(), view.target[1] + y / scale(), 0], zoom: view.zoom }),
      zoom: (by) => setView({ target: view.target, zoom: view.zoom + by }),
    };
  }

  return { possible, canvas };
})();
