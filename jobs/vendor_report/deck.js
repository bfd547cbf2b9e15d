// The parts of deck.gl used by the page Map: canvas, view with pan and zoom, and the base class of our layer.
export { Deck, Layer, OrthographicView } from '@deck.gl/core';
export { Model } from '@luma.gl/engine';
