// What the page Map takes of deck.gl: its canvas, its view with pan and zoom, and the base of a layer of our own.
export { Deck, Layer, OrthographicView } from '@deck.gl/core';
export { Model } from '@luma.gl/engine';
