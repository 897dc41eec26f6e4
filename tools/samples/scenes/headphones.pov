#version 3.7;
#include "studio.inc"
// Over-ear headphones: graphite shells, tan leather, steel yokes.

Studio(1.1, <0.885, 0.885, 0.89>, 0.83, 1)
Lens(<4.3, 3.2, -11.5>, <0.0, 1.62, 0>, 21)

#declare Graphite = texture { pigment { rgb <0.030, 0.033, 0.038> } normal { bumps 0.06 scale 0.008 } finish { ambient 0 diffuse 0.8 specular 0.25 roughness 0.04 reflection { 0.015, 0.22 falloff 3 } conserve_energy } }
#declare Leather = texture {
  pigment { bozo scale 0.2 color_map { [0 rgb <0.34, 0.145, 0.058>] [1 rgb <0.43, 0.19, 0.080>] } }
  normal { average normal_map { [1 crackle 0.55 scale 0.028] [1.2 bumps 0.35 scale <0.16, 0.10, 0.16>] [0.5 bumps 0.3 scale 0.02] } }
  finish { ambient 0 diffuse 0.75 specular 0.22 roughness 0.035 reflection { 0.005, 0.08 falloff 3 } }
}
#declare Mesh = texture { pigment { rgb 0.02 } normal { bumps 0.5 scale 0.02 } finish { F_Matte } }

// dark enough not to be taken for the backdrop
#declare Gunmetal = texture { pigment { rgb <0.26, 0.265, 0.28> } finish { F_Metal } }

// Cup: the axis is x, +x points outwards; oval, so stretched along y.
#declare Cup = union {
  lathe { // shell
    bezier_spline 24
    <0.00, 0.46>, <0.16, 0.46>, <0.30, 0.455>, <0.42, 0.44>
    <0.42, 0.44>, <0.45, 0.435>, <0.45, 0.41>, <0.48, 0.41>
    <0.48, 0.41>, <0.60, 0.39>, <0.74, 0.30>, <0.76, 0.14>
    <0.76, 0.14>, <0.77, 0.08>, <0.77, 0.03>, <0.74, 0.00>
    <0.74, 0.00>, <0.70, -0.04>, <0.60, -0.04>, <0.50, -0.04>
    <0.50, -0.04>, <0.30, -0.04>, <0.15, -0.04>, <0.00, -0.04>
    sturm
    texture { Graphite }
  }
  torus { 0.455, 0.016 translate 0.418*y texture { T_Brass } }
  torus { 0.735, 0.020 translate 0.02*y texture { Gunmetal } }
  // cushion
  superellipsoid { <1, 0.55> rotate 90*x scale <0.78, 0.10, 0.78> translate -0.12*y texture { Graphite } }
  torus { 0.55, 0.235 scale <1, 1.05, 1> translate -0.26*y texture { Leather } }
  cylinder { -0.16*y, -0.10*y, 0.5 texture { Mesh } }
  rotate -90*z
  scale <1, 1.16, 1>
}

#declare RB = 1.62;  // head band radius
#declare CY = 1.78;  // its centre's height
#macro Band(R, Rx, Zs, A)
  intersection {
    torus { R, Rx sturm rotate 90*x scale <1, 1, Zs> }
    plane { -y, 0 rotate  A*z }
    plane { -y, 0 rotate -A*z }
    scale <1, 1.02, 1>
    translate CY*y
  }
#end

union {
  // head band: steel core, graphite cover, padded inside
  object { Band(RB, 0.040, 5.6, 22) texture { Graphite } }
  object { Band(RB - 0.085, 0.085, 2.55, 40) texture { Leather } }
  object { Band(RB + 0.028, 0.028, 6.6, 40) texture { Leather } }
  #for (S, -1, 1, 2)
    #local Side = union {
      // yoke: a half ring around the cup, and the cup hanging in it
      union {
        intersection {
          torus { 0.86, 0.04 sturm rotate 90*z scale <1.6, 1.16, 1> }
          plane { -y, 0.03 }
          texture { Gunmetal }
        }
        cylinder { -0.93*z, -0.70*z, 0.075 texture { Gunmetal } }
        cylinder {  0.93*z,  0.70*z, 0.075 texture { Gunmetal } }
        cylinder { 0.96*y, 1.10*y, 0.085 texture { Graphite } }
        object { Cup translate -0.12*x }
        rotate 4*z
        translate <1.58, 0.915, 0>
      }
      sphere_sweep {
        linear_spline 6,
        <1.04, 3.05, 0>, 0.04, <1.22, 2.86, 0>, 0.04, <1.35, 2.69, 0>, 0.04,
        <1.48, 2.44, 0>, 0.04, <1.52, 2.23, 0>, 0.04, <1.51, 1.96, 0>, 0.04
        scale <1, 1, 2.6>
        texture { Gunmetal }
      }
    };
    #if (S < 0) object { Side rotate 180*y } #else object { Side } #end
  #end
}
